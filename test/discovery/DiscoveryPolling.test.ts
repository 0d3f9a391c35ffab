import { assert, describe, it } from "@effect/vitest";
import {
  Chunk,
  Duration,
  Effect,
  Exit,
  FastCheck,
  Fiber,
  Layer,
  LogLevel,
  Ref,
  Scope,
  TestClock,
} from "effect";
import * as BackendRegistry from "../../src/backend/BackendRegistry.js";
import * as Pool from "../../src/backend/Pool.js";
import { roundRobin } from "../../src/balancing/RoundRobin.js";
import {
  type Answer,
  Discovery,
  DiscoveryError,
  type DiscoveryFailure,
  type Skipped,
} from "../../src/discovery/Discovery.js";
import * as DiscoveryPolling from "../../src/discovery/DiscoveryPolling.js";
import * as CapturedLog from "../support/CapturedLog.js";

type Reply = Effect.Effect<Answer, DiscoveryError>;

const lists = (ids: string, skipped: ReadonlyArray<Skipped> = []): Reply =>
  Effect.succeed({
    instances: [...ids].map((id) => ({ id, address: { host: `10.0.0.${id.charCodeAt(0)}`, port: 80 } })),
    skipped,
  });
const empty = lists("");
const fails = (reason: DiscoveryFailure): Reply =>
  Effect.fail(new DiscoveryError({ reason, message: `because ${reason}` }));

/** Polls a source that replies so, in this order, and with the last of it for ever. */
const polling = (replies: ReadonlyArray<Reply>, interval = Duration.seconds(5)) =>
  Effect.gen(function* () {
    const log = yield* CapturedLog.make;
    const asked = yield* Ref.make(0);
    const discovery = Layer.succeed(Discovery, {
      source: "a script",
      list: Effect.flatMap(
        Ref.getAndUpdate(asked, (n) => n + 1),
        (n) => replies[Math.min(n, replies.length - 1)] ?? Effect.dieMessage("nothing to reply"),
      ),
    });
    const registry = BackendRegistry.layer({ algorithm: roundRobin, rise: 2, fall: 3 });
    const context = yield* DiscoveryPolling.layer({ interval }).pipe(
      Layer.provideMerge(Layer.merge(discovery, registry)),
      Layer.provide(log.layer),
      Layer.build,
    );
    const [{ pool }, service] = yield* Effect.all([
      BackendRegistry.BackendRegistry,
      DiscoveryPolling.DiscoveryPolling,
    ]).pipe(Effect.provide(context));
    yield* service.firstEnded;
    return {
      log,
      asked: Ref.get(asked),
      status: service.status,
      ids: Effect.map(pool, (now) =>
        Pool.backends(now)
          .map(({ id }) => id)
          .sort()
          .join(""),
      ),
      phase: Effect.map(pool, ({ phase }) => phase),
      warnings: () => log.take(LogLevel.Warning).map(({ level, message }) => `${level} ${message}`),
      /** Lets the clock run to the next poll, and tells how many milliseconds it took. */
      next: Effect.gen(function* () {
        const before = yield* Ref.get(asked);
        const now = yield* TestClock.currentTimeMillis;
        const times = yield* TestClock.sleeps();
        const at = Math.min(...Chunk.toReadonlyArray(times));
        assert.isTrue(Number.isFinite(at), "nothing waits for the next poll");
        yield* TestClock.setTime(at);
        assert.strictEqual(yield* Ref.get(asked), before + 1);
        return at - now;
      }),
    };
  });

const repeat = (times: number, reply: Reply): ReadonlyArray<Reply> =>
  Array.from({ length: times }, () => reply);

describe("DiscoveryPolling", () => {
  it.scoped("asks at once, and says when that has ended", () =>
    Effect.gen(function* () {
      const { asked, ids, phase, status } = yield* polling([lists("ab")]);
      assert.strictEqual(yield* asked, 1);
      assert.strictEqual(yield* ids, "ab");
      assert.strictEqual(yield* phase, "serving");
      assert.deepStrictEqual(yield* status, { lastSuccess: 0, outage: undefined });
    }),
  );

  it.scoped("is not ready before the first poll has ended", () =>
    Effect.gen(function* () {
      const ended = yield* Ref.make(false);
      const fiber = yield* polling([Effect.delay(lists("a"), "3 seconds")]).pipe(
        Effect.tap(() => Ref.set(ended, true)),
        Effect.fork,
      );
      yield* TestClock.adjust("2999 millis");
      assert.isFalse(yield* Ref.get(ended));
      yield* TestClock.adjust("1 millis");
      const { ids } = yield* Fiber.join(fiber);
      assert.strictEqual(yield* ids, "a");
    }),
  );

  it.scoped("serves after a first poll that ended badly, and takes up the list when there is one", () =>
    Effect.gen(function* () {
      const { ids, log, next, phase, status, warnings } = yield* polling([
        fails("unreachable"),
        fails("unreachable"),
        lists("a"),
      ]);
      assert.strictEqual(yield* phase, "starting");
      assert.deepStrictEqual(yield* status, {
        lastSuccess: undefined,
        outage: { since: 0, failures: 1, reason: "unreachable", message: "because unreachable" },
      });
      assert.deepStrictEqual(warnings(), ["WARN discovery fails; the last list is kept"]);
      const waited = (yield* next) + (yield* next);
      assert.strictEqual(yield* ids, "a");
      const { lastSuccess = Number.NaN, outage } = yield* status;
      assert.isUndefined(outage);
      assert.approximately(lastSuccess, waited, 0.001);
      const recovery = log.take(LogLevel.Info).find(({ message }) => message === "discovery has recovered");
      assert.strictEqual(recovery?.level, "INFO");
      assert.strictEqual(recovery?.annotations.after, Duration.format(Duration.millis(Math.round(waited))));
      assert.strictEqual(recovery?.annotations.failures, 2);
    }),
  );

  it.scoped("keeps the last good list through any failure, and warns once per change of state", () =>
    Effect.gen(function* () {
      const { ids, log, next, warnings } = yield* polling([
        lists("ab"),
        ...repeat(5, fails("unreachable")),
        ...repeat(3, fails("malformed")),
        lists("bc"),
        ...repeat(3, fails("unreachable")),
      ]);
      assert.deepStrictEqual(warnings(), []);
      for (let i = 0; i < 8; i++) {
        yield* next;
        assert.strictEqual(yield* ids, "ab");
      }
      const first = log.take(LogLevel.Warning);
      assert.deepStrictEqual(
        first.map(({ annotations }) => [annotations.reason, annotations.why, annotations.discovery]),
        [
          ["unreachable", "because unreachable", "a script"],
          ["malformed", "because malformed", "a script"],
        ],
      );
      yield* next;
      assert.strictEqual(yield* ids, "bc");
      assert.deepStrictEqual(warnings(), []);
      yield* next;
      yield* next;
      assert.deepStrictEqual(warnings(), ["WARN discovery fails; the last list is kept"]);
    }),
  );

  it.scoped("polls on at the interval, a tenth more or less", () =>
    Effect.gen(function* () {
      const { next } = yield* polling([lists("a")]);
      const waits: Array<number> = [];
      for (let i = 0; i < 50; i++) waits.push(yield* next);
      for (const wait of waits) assert.isTrue(wait >= 4500 && wait <= 5500, String(wait));
      assert.isAbove(new Set(waits).size, 10);
    }),
  );

  it.scoped("backs off to 30 seconds while it fails, and returns to the interval", () =>
    Effect.gen(function* () {
      const { next } = yield* polling([...repeat(6, fails("timeout")), lists("a")]);
      for (const most of [5000, 10_000, 20_000, 30_000, 30_000, 30_000]) {
        const wait = yield* next;
        assert.isTrue(wait >= 0.8 * most - 1 && wait <= most, `${wait} of ${most}`);
      }
      const wait = yield* next;
      assert.isTrue(wait >= 4500 && wait <= 5500, String(wait));
    }),
  );

  it("waits as the interval, the failures and chance say", () => {
    FastCheck.assert(
      FastCheck.property(
        FastCheck.integer({ min: 1, max: 2 ** 33 }),
        FastCheck.integer({ min: 0, max: 5000 }),
        FastCheck.double({ min: 0, max: 1, noNaN: true }),
        (interval, failures, random) => {
          const wait = DiscoveryPolling.pause(Duration.millis(interval), failures, random);
          // Whatever happens, a timer can hold it, and it is not much less than the interval.
          assert.isTrue(wait <= 2 ** 31 - 1);
          assert.isTrue(wait >= Math.min(2 ** 31 - 1, interval) * 0.8 - 1e-6);
          if (failures > 0) assert.isTrue(wait <= Math.max(30_000, interval));
        },
      ),
    );
  });

  it.scoped("believes an empty list after a full one only when it is told twice in a row", () =>
    Effect.gen(function* () {
      const { ids, next, status, warnings } = yield* polling([
        lists("ab"),
        empty,
        lists("ab"),
        empty,
        empty,
        empty,
        lists("c"),
      ]);
      yield* next;
      assert.strictEqual(yield* ids, "ab");
      assert.deepStrictEqual(warnings(), [
        "WARN discovery lists no instance; the last list is kept until it says so again",
      ]);
      assert.isUndefined((yield* status).outage);
      yield* next;
      yield* next;
      assert.strictEqual(yield* ids, "ab");
      warnings();
      yield* next;
      assert.strictEqual(yield* ids, "");
      assert.deepStrictEqual(warnings(), ["WARN discovery lists no instance"]);
      yield* next;
      assert.strictEqual(yield* ids, "");
      assert.deepStrictEqual(warnings(), []);
      yield* next;
      assert.strictEqual(yield* ids, "c");
    }),
  );

  it.scoped("does not count two empty lists with a failure between them as two in a row", () =>
    Effect.gen(function* () {
      const { ids, next } = yield* polling([lists("a"), empty, fails("unreachable"), empty, empty]);
      yield* next;
      yield* next;
      yield* next;
      assert.strictEqual(yield* ids, "a");
      yield* next;
      assert.strictEqual(yield* ids, "");
    }),
  );

  it.scoped("believes an empty list at once when it is the first, and says so once", () =>
    Effect.gen(function* () {
      const { next, status, warnings } = yield* polling([empty]);
      assert.deepStrictEqual(warnings(), ["WARN discovery lists no instance"]);
      assert.strictEqual((yield* status).lastSuccess, 0);
      yield* next;
      yield* next;
      assert.deepStrictEqual(warnings(), []);
    }),
  );

  it.scoped("names a skipped entry when it appears, and again only when it comes back", () =>
    Effect.gen(function* () {
      const bad = { entry: "x", why: "it is bad" };
      const worse = { entry: "x", why: "it is worse" };
      const { ids, log, next } = yield* polling([
        lists("a", [bad]),
        lists("a", [bad]),
        lists("a", [worse]),
        lists("a"),
        lists("a", [worse]),
      ]);
      const told = () =>
        log
          .take(LogLevel.Warning)
          .map(({ annotations }) => `${String(annotations.instance)}: ${String(annotations.why)}`);
      assert.strictEqual(yield* ids, "a");
      assert.deepStrictEqual(told(), ["x: it is bad"]);
      yield* next;
      assert.deepStrictEqual(told(), []);
      yield* next;
      assert.deepStrictEqual(told(), ["x: it is worse"]);
      yield* next;
      assert.deepStrictEqual(told(), []);
      yield* next;
      assert.deepStrictEqual(told(), ["x: it is worse"]);
    }),
  );

  it.scoped("does not flood the log with skipped entries", () =>
    Effect.gen(function* () {
      const skipped = Array.from({ length: 5000 }, (_, i) => ({ entry: `x${i}`, why: "it is bad" }));
      const { log, next } = yield* polling([lists("a", skipped)]);
      assert.isAtMost(log.take(LogLevel.Warning).length, 11);
      yield* next;
      yield* next;
      assert.deepStrictEqual(log.take(LogLevel.Warning), []);
    }),
  );

  it.scoped("survives an implementation that breaks, and says so each time", () =>
    Effect.gen(function* () {
      const { ids, log, next, phase, status } = yield* polling([
        Effect.die(new Error("boom")),
        Effect.sync(() => {
          throw new Error("boom");
        }),
        Effect.interrupt,
        lists("a"),
      ]);
      assert.strictEqual(yield* phase, "starting");
      assert.strictEqual((yield* status).outage?.reason, "defect");
      yield* next;
      const errors = log.take(LogLevel.Error);
      assert.lengthOf(errors, 2);
      for (const { text } of errors) assert.include(text, "boom");
      yield* next;
      assert.lengthOf(log.take(LogLevel.Error), 1);
      yield* next;
      assert.strictEqual(yield* ids, "a");
      assert.isUndefined((yield* status).outage);
    }),
  );

  it.effect("stops with its scope, in the middle of a poll too", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make();
      const { asked, log, next } = yield* Scope.extend(polling([lists("a"), Effect.never]), scope);
      yield* next;
      yield* Scope.close(scope, Exit.void);
      yield* TestClock.adjust("1 hour");
      assert.strictEqual(yield* asked, 2);
      assert.strictEqual(Chunk.size(yield* TestClock.sleeps()), 0);
      assert.deepStrictEqual(log.take(LogLevel.Warning), []);
    }),
  );
});
