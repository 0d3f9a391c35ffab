import { assert, describe, it } from "@effect/vitest";
import {
  Chunk,
  Context,
  Duration,
  Effect,
  Exit,
  FastCheck,
  Fiber,
  Layer,
  LogLevel,
  Option,
  Queue,
  Ref,
  Scope,
  Stream,
  SubscriptionRef,
  TestClock,
} from "effect";
import type { Instance } from "../../src/backend/Backend.js";
import * as BackendRegistry from "../../src/backend/BackendRegistry.js";
import * as Pool from "../../src/backend/Pool.js";
import { roundRobin } from "../../src/balancing/RoundRobin.js";
import * as TimeSlices from "../../src/clock/TimeSlices.js";
import { longestDuration } from "../../src/config/InvalidOption.js";
import * as Discovery from "../../src/discovery/Discovery.js";
import { DiscoveryError } from "../../src/discovery/Discovery.js";
import * as DiscoverySync from "../../src/discovery/DiscoverySync.js";
import * as CapturedLog from "../support/CapturedLog.js";

type Reply = Effect.Effect<Discovery.Answer, DiscoveryError>;

const lists = (ids: string, skipped: ReadonlyArray<Discovery.Skipped> = []): Reply =>
  Effect.succeed({
    instances: [...ids].map((id) => ({ id, address: { host: `10.0.0.${id.charCodeAt(0)}`, port: 80 } })),
    skipped,
  });
const empty = lists("");
const fails = (reason: Discovery.DiscoveryFailure): Reply =>
  Effect.fail(new DiscoveryError({ reason, message: `because ${reason}` }));

/** Polls a source that replies so, in this order, and with the last of it for ever. `before` is listed already. */
const polling = (
  replies: ReadonlyArray<Reply>,
  interval = Duration.seconds(5),
  before: ReadonlyArray<Instance> = [],
) =>
  Effect.gen(function* () {
    const log = yield* CapturedLog.make;
    const asked = yield* Ref.make(0);
    const discovery = Layer.succeed(Discovery.Discovery, {
      source: "a script",
      list: Effect.flatMap(
        Ref.getAndUpdate(asked, (n) => n + 1),
        (n) => replies[Math.min(n, replies.length - 1)] ?? Effect.dieMessage("nothing to reply"),
      ),
    });
    const registry = BackendRegistry.layer({ algorithm: roundRobin, rise: 2, fall: 3 });
    const restored = Layer.effectDiscard(
      Effect.flatMap(BackendRegistry.BackendRegistry, ({ discovered }) =>
        before.length === 0 ? Effect.void : discovered(before),
      ),
    );
    const context = yield* DiscoverySync.layer({ interval }).pipe(
      Layer.provide(restored),
      Layer.provideMerge(Layer.merge(discovery, registry)),
      Layer.provide(log.layer),
      Layer.build,
    );
    const [{ awaitFirstDiscovery, pool }, service] = yield* Effect.all([
      BackendRegistry.BackendRegistry,
      DiscoverySync.DiscoverySync,
    ]).pipe(Effect.provide(context));
    yield* awaitFirstDiscovery;
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
      pool,
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

describe("DiscoverySync", () => {
  it.scoped("asks at once, and says when that has ended", () =>
    Effect.gen(function* () {
      const { asked, ids, phase, status } = yield* polling([lists("ab")]);
      assert.strictEqual(yield* asked, 1);
      assert.strictEqual(yield* ids, "ab");
      assert.strictEqual(yield* phase, "serving");
      assert.deepStrictEqual(yield* status, { lastSuccess: 0, outage: undefined });
    }),
  );

  it.scoped("keeps a list that was there before, until it has one, and takes an empty one only twice", () =>
    Effect.gen(function* () {
      const before = [{ id: "x", address: { host: "10.0.0.9", port: 80 } }];
      const { ids, next, phase, status, warnings } = yield* polling(
        [fails("unreachable"), empty, empty],
        Duration.seconds(5),
        before,
      );
      yield* Effect.repeat(Effect.zipRight(Effect.yieldNow(), status), {
        until: ({ outage }) => outage !== undefined,
      });
      assert.strictEqual(yield* phase, "serving");
      assert.deepStrictEqual(warnings(), ["WARN discovery fails; the last list is kept"]);
      yield* next;
      assert.strictEqual(yield* ids, "x");
      yield* next;
      assert.strictEqual(yield* ids, "");
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
      assert.deepStrictEqual(warnings(), ["WARN discovery fails; there is no list yet"]);
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
        FastCheck.integer({ min: 1, max: Duration.toMillis(longestDuration) }),
        FastCheck.integer({ min: 0, max: 5000 }),
        FastCheck.double({ min: 0, max: 1, noNaN: true }),
        (interval, failures, random) => {
          const wait = DiscoverySync.pause(interval, failures, random);
          // Whatever happens, a timer can hold it, and it is not much less than the interval.
          assert.isTrue(wait <= 2 ** 31 - 1);
          assert.isTrue(wait >= interval * 0.8 - 1e-6);
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
      const bad = { entry: "x", why: "it is bad", malformed: true };
      const worse = { entry: "x", why: "it is worse", malformed: true };
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
      const skipped = Array.from({ length: 5000 }, (_, i) => ({
        entry: `x${i}`,
        why: "it is bad",
        malformed: true,
      }));
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

  it.scoped(
    "takes a list without a usable entry and with a malformed one for a failure, not for an empty list",
    () =>
      Effect.gen(function* () {
        const stopped = { entry: "x", why: "its state is stopped, not running", malformed: false };
        const broken = { entry: "y", why: "id is missing", malformed: true };
        const { ids, log, next, status, warnings } = yield* polling([
          lists("ab"),
          lists("", [stopped, broken]),
          lists("", [stopped, broken]),
          lists("a", [stopped, broken]),
          lists("", [stopped]),
          lists("", [stopped]),
        ]);
        for (let i = 0; i < 2; i++) {
          yield* next;
          assert.strictEqual(yield* ids, "ab");
          assert.strictEqual((yield* status).outage?.reason, "malformed");
        }
        const failure = log
          .take(LogLevel.Warning)
          .find(({ message }) => message.startsWith("discovery fails"));
        assert.strictEqual(
          failure?.annotations.why,
          "a script: no entry of the list can be used; y: id is missing",
        );
        yield* next;
        assert.strictEqual(yield* ids, "a");
        yield* next;
        assert.strictEqual(yield* ids, "a");
        yield* next;
        assert.strictEqual(yield* ids, "");
        assert.include(warnings(), "WARN discovery lists no instance");
      }),
  );

  it.scoped(
    "takes a list whose instances are all invalid for a failure, and one with a valid one for a list",
    () =>
      Effect.gen(function* () {
        const invalid = [
          { id: "x", address: { host: "10.0.0.1", port: 91_036 } },
          { id: "y", address: { host: "localhost", port: 80 } },
        ];
        const of = (instances: ReadonlyArray<Instance>): Reply => Effect.succeed({ instances, skipped: [] });
        const valid = { id: "v", address: { host: "10.0.0.1", port: 80 } };
        const { ids, next, status } = yield* polling([lists("ab"), of(invalid), of([...invalid, valid])]);
        yield* next;
        // It is looked at in slices, with turns of the event loop between them.
        while ((yield* status).outage === undefined) yield* TimeSlices.turn;
        assert.strictEqual(yield* ids, "ab");
        assert.strictEqual((yield* status).outage?.reason, "malformed");
        yield* TestClock.adjust("1 minute");
        while ((yield* ids) !== "v") yield* TimeSlices.turn;
      }),
  );

  it.scoped("does not say that a list is kept when there was none, whatever fails", () =>
    Effect.gen(function* () {
      const { log, next } = yield* polling([
        Effect.dieMessage("boom"),
        fails("timeout"),
        lists("a"),
        fails("timeout"),
        Effect.dieMessage("boom"),
      ]);
      const said = () => log.take(LogLevel.Warning).map(({ message }) => message.split("; ")[1]);
      assert.include(said()[0], "there is no list yet");
      yield* next;
      assert.deepStrictEqual(said(), ["there is no list yet"]);
      yield* next;
      yield* next;
      assert.deepStrictEqual(said(), ["the last list is kept"]);
      yield* next;
      assert.include(said()[0], "the last list is kept");
    }),
  );

  it.scoped("is ready when a list was had, and says why not before", () =>
    Effect.gen(function* () {
      const { next, phase, pool } = yield* polling([fails("unreachable"), fails("timeout"), empty]);
      const why = Effect.map(pool, ({ notListed }) => notListed);
      assert.strictEqual(yield* phase, "starting");
      assert.include(yield* why, "unreachable");
      yield* next;
      assert.strictEqual(yield* phase, "starting");
      assert.include(yield* why, "timeout");
      yield* next;
      assert.strictEqual(yield* phase, "serving");
      assert.isUndefined(yield* why);
    }),
  );

  it.scoped("logs no more than a few hundred characters of what a Discovery says", () =>
    Effect.gen(function* () {
      const long = "x\n".repeat(1_000_000);
      const { log, next } = yield* polling([
        lists("a", [{ entry: long, why: long, malformed: true }]),
        Effect.fail(new DiscoveryError({ reason: "status", message: long })),
      ]);
      yield* next;
      const lines = log.take(LogLevel.Warning);
      assert.lengthOf(lines, 2);
      for (const { annotations, text } of lines) {
        assert.isBelow(text.length, 3000);
        assert.notInclude(String(annotations.why), "\n");
      }
    }),
  );

  it.effect("refuses durations that no timer can hold", () =>
    Effect.gen(function* () {
      for (const options of [
        { interval: Duration.infinity },
        { interval: "25 days" },
        { interval: 0 },
        { timeout: Duration.infinity },
      ] as const) {
        const error = yield* DiscoverySync.layer(options).pipe(
          Layer.provide(Discovery.layerChanges({ source: "a script", changes: Stream.never })),
          Layer.provide(BackendRegistry.layer({ algorithm: roundRobin, rise: 2, fall: 3 })),
          Layer.build,
          Effect.scoped,
          Effect.flip,
        );
        assert.strictEqual(error.option, Object.keys(options)[0]);
      }
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

/** Follows these changes, with the parts of a test at hand. */
const following = (discovery: Layer.Layer<Discovery.Discovery>, options: DiscoverySync.Options = {}) =>
  Effect.gen(function* () {
    const log = yield* CapturedLog.make;
    const context = yield* DiscoverySync.layer(options).pipe(
      Layer.provide(discovery),
      Layer.provideMerge(BackendRegistry.layer({ algorithm: roundRobin, rise: 2, fall: 3 })),
      Layer.provide(log.layer),
      Layer.build,
    );
    const registry = Context.get(context, BackendRegistry.BackendRegistry);
    return {
      log,
      registry,
      status: Context.get(context, DiscoverySync.DiscoverySync).status,
      /** Waits until the pool has exactly these backends. */
      has: (ids: string) =>
        registry.until(
          (pool) =>
            pool.phase === "serving" &&
            Pool.backends(pool)
              .map(({ id }) => id)
              .sort()
              .join("") === ids,
        ),
    };
  });

const answer = (ids: string): Discovery.Answer => ({
  instances: [...ids].map((id) => ({ id, address: { host: `10.0.0.${id.charCodeAt(0)}`, port: 80 } })),
  skipped: [],
});

describe("DiscoverySync over a Discovery that pushes", () => {
  it.scoped("takes over what is pushed at once, an empty list too", () =>
    Effect.gen(function* () {
      const lists = yield* Queue.unbounded<Discovery.Answer>();
      const { has, log } = yield* following(
        Discovery.layerChanges({ source: "a watch", changes: Stream.fromQueue(lists) }),
      );
      for (const ids of ["ab", "b", "", "c"]) {
        yield* Queue.offer(lists, answer(ids));
        yield* has(ids);
      }
      assert.deepStrictEqual(
        log.take(LogLevel.Warning).map(({ message }) => message),
        ["discovery lists no instance"],
      );
    }),
  );

  it.scoped("opens listeners when the first list does not come in time, and takes it when it comes", () =>
    Effect.gen(function* () {
      const lists = yield* Queue.unbounded<Discovery.Answer>();
      const { has, log, registry, status } = yield* following(
        Discovery.layerChanges({ source: "a watch", changes: Stream.fromQueue(lists) }),
        { timeout: "2 seconds" },
      );
      const waiting = yield* Effect.fork(registry.awaitFirstDiscovery);
      yield* TestClock.adjust("1999 millis");
      assert.isTrue(Option.isNone(yield* Fiber.poll(waiting)));
      yield* TestClock.adjust("1 millis");
      yield* Fiber.join(waiting);
      assert.strictEqual((yield* registry.pool).phase, "starting");
      assert.strictEqual((yield* status).outage?.reason, "timeout");
      assert.deepStrictEqual(
        log.take(LogLevel.Warning).map(({ annotations, message }) => [message, annotations.why]),
        [["discovery fails; there is no list yet", "a watch: no list within 2s"]],
      );
      yield* Queue.offer(lists, answer("a"));
      yield* has("a");
      assert.isUndefined((yield* status).outage);
    }),
  );

  it.scoped("runs a stream again that failed or ended, after a pause, and keeps the list meanwhile", () =>
    Effect.gen(function* () {
      const runs = yield* Ref.make(0);
      const scripts: ReadonlyArray<Stream.Stream<Discovery.Answer, DiscoveryError>> = [
        Stream.concat(
          Stream.make(answer("a")),
          Stream.fail(new DiscoveryError({ reason: "unreachable", message: "the watch broke" })),
        ),
        Stream.empty,
        Stream.dieMessage("boom"),
        Stream.concat(Stream.make(answer("b")), Stream.never),
      ];
      const changes = Stream.unwrap(
        Effect.map(
          Ref.getAndUpdate(runs, (n) => n + 1),
          (n) => scripts[n] ?? Stream.never,
        ),
      );
      const { has, log, registry, status } = yield* following(
        Discovery.layerChanges({ source: "a watch", changes }),
        { interval: "1 second" },
      );
      yield* has("a");
      for (const failures of [1, 2, 3]) {
        yield* TestClock.adjust("0 millis");
        assert.strictEqual((yield* status).outage?.failures, failures);
        assert.strictEqual(yield* Ref.get(runs), failures);
        assert.strictEqual((yield* registry.pool).listed, 1);
        yield* TestClock.adjust(Duration.seconds(2 ** (failures - 1)));
      }
      yield* has("b");
      assert.deepStrictEqual(
        log.take(LogLevel.Warning).map(({ annotations, message }) => annotations.why ?? message),
        ["the watch broke", "discovery failed by a defect; the last list is kept"],
      );
    }),
  );

  it.scoped("follows the newest list where they come faster than they are taken over", () =>
    Effect.gen(function* () {
      const asked = yield* Ref.make(0);
      const all = Array.from({ length: 1000 }, (_, i) => answer(i === 999 ? "z" : "a"));
      const changes = Stream.concat(
        Stream.mapEffect(Stream.fromIterable(all), (each) =>
          Effect.as(
            Ref.update(asked, (n) => n + 1),
            each,
          ),
        ),
        Stream.never,
      );
      const { has } = yield* following(Discovery.layerChanges({ source: "a watch", changes }));
      yield* has("z");
      assert.strictEqual(yield* Ref.get(asked), 1000);
    }),
  );

  it.scoped("follows a ref in a test, also one that holds an error", () =>
    Effect.gen(function* () {
      const ref = yield* SubscriptionRef.make<ReadonlyArray<Instance> | DiscoveryError>(
        answer("a").instances,
      );
      const { has, status } = yield* following(Discovery.layerTest(ref), { interval: "1 second" });
      yield* has("a");
      yield* SubscriptionRef.set(ref, answer("bc").instances);
      yield* has("bc");
      yield* SubscriptionRef.set(ref, new DiscoveryError({ reason: "status", message: "it answered 500" }));
      yield* TestClock.adjust("0 millis");
      assert.strictEqual((yield* status).outage?.message, "it answered 500");
      yield* SubscriptionRef.set(ref, answer("d").instances);
      yield* TestClock.adjust("1 second");
      yield* has("d");
    }),
  );

  it.effect("answers the first list that is pushed to those who ask once", () =>
    Effect.gen(function* () {
      const asked = (changes: Stream.Stream<Discovery.Answer, DiscoveryError>) =>
        Effect.flatMap(Discovery.Discovery, ({ list }) => list).pipe(
          Effect.provide(Discovery.layerChanges({ source: "a watch", changes })),
        );
      assert.deepStrictEqual(yield* asked(Stream.make(answer("a"), answer("b"))), answer("a"));
      assert.strictEqual((yield* Effect.flip(asked(Stream.empty))).reason, "unreachable");
    }),
  );
});
