import { assert, describe, it } from "@effect/vitest";
import { Deferred, Duration, Effect, Fiber, LogLevel, Option, TestClock } from "effect";
import type { Discovery } from "../../src/discovery/Discovery.js";
import { LookupError } from "../../src/discovery/NameLookup.js";
import * as StaticDiscovery from "../../src/discovery/StaticDiscovery.js";
import { format, type SocketAddress } from "../../src/net/SocketAddress.js";
import * as CapturedLog from "../support/CapturedLog.js";

const timeout = Duration.seconds(2);

const address = (text: string): SocketAddress => {
  const at = text.lastIndexOf(":");
  return { host: text.slice(0, at), port: Number(text.slice(at + 1)) };
};

type Names = Record<string, ReadonlyArray<string> | string | "hangs">;

/** A list over names that resolve to these addresses, or fail with this word. The names may be changed. */
const over = (names: Names, ...backends: ReadonlyArray<string>) =>
  StaticDiscovery.make({
    backends: backends.map(address),
    timeout,
    lookUp: (name) =>
      Effect.suspend(() => {
        const answer = names[name] ?? "ENOTFOUND";
        if (answer === "hangs") return Effect.never;
        return typeof answer === "string"
          ? Effect.fail(new LookupError({ why: answer }))
          : Effect.succeed(answer);
      }),
  });

const ask = (discovery: typeof Discovery.Service) =>
  Effect.map(discovery.list, ({ instances, skipped }) => ({
    instances: instances.map(({ id, address }) => `${id} ${format(address)}`),
    skipped: skipped.map(({ entry, why }) => `${entry}: ${why}`),
  }));

describe("StaticDiscovery", () => {
  it.scoped("lists addresses as they stand, in their order", () =>
    Effect.gen(function* () {
      const answer = yield* ask(yield* over({}, "10.0.0.2:80", "2001:db8::5:3000", "10.0.0.1:80"));
      assert.deepStrictEqual(answer, {
        instances: [
          "10.0.0.2:80 10.0.0.2:80",
          "[2001:db8::5]:3000 [2001:db8::5]:3000",
          "10.0.0.1:80 10.0.0.1:80",
        ],
        skipped: [],
      });
    }),
  );

  it.scoped("lets a name stand for all its addresses, of one family, each once", () =>
    Effect.gen(function* () {
      const names = {
        both: ["::1", "10.0.0.2", "10.0.0.1", "10.0.0.2"],
        six: ["2001:db8::2", "2001:db8::1"],
      };
      assert.deepStrictEqual((yield* ask(yield* over(names, "both:80", "six:81", "both:82"))).instances, [
        "both:80@10.0.0.1 10.0.0.1:80",
        "both:80@10.0.0.2 10.0.0.2:80",
        "six:81@2001:db8::1 [2001:db8::1]:81",
        "six:81@2001:db8::2 [2001:db8::2]:81",
        "both:82@10.0.0.1 10.0.0.1:82",
        "both:82@10.0.0.2 10.0.0.2:82",
      ]);
    }),
  );

  it.scoped("gives each address of a name an id of its own, and the name to all of them", () =>
    Effect.gen(function* () {
      const { instances } = yield* (yield* over({ app: ["10.0.0.1", "10.0.0.2"] }, "app:80", "10.0.0.3:80"))
        .list;
      assert.deepStrictEqual(
        instances.map(({ id, name }) => [id, name]),
        [
          ["app:80@10.0.0.1", "app:80"],
          ["app:80@10.0.0.2", "app:80"],
          ["10.0.0.3:80", undefined],
        ],
      );
    }),
  );

  it.scoped("resolves names anew each time, and keeps what a name had when it cannot be resolved", () =>
    Effect.gen(function* () {
      const names: Names = { web: ["10.0.0.1"], db: ["10.0.1.1"] };
      const discovery = yield* over(names, "web:80", "db:5432", "10.9.9.9:80");
      yield* ask(discovery);
      names.web = ["10.0.0.2"];
      assert.include((yield* ask(discovery)).instances, "web:80@10.0.0.2 10.0.0.2:80");
      names.web = "EAI_AGAIN";
      names.db = [];
      assert.deepStrictEqual(yield* ask(discovery), {
        instances: [
          "web:80@10.0.0.2 10.0.0.2:80",
          "db:5432@10.0.1.1 10.0.1.1:5432",
          "10.9.9.9:80 10.9.9.9:80",
        ],
        skipped: [
          "web:80: its name could not be resolved (EAI_AGAIN); the addresses it had are kept",
          "db:5432: its name could not be resolved (it has no address); the addresses it had are kept",
        ],
      });
      names.web = ["10.0.0.3"];
      const back = yield* ask(discovery);
      assert.include(back.instances, "web:80@10.0.0.3 10.0.0.3:80");
      assert.lengthOf(back.skipped, 1);
    }),
  );

  it.scoped("does without a name that never was resolved", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* ask(yield* over({ web: ["10.0.0.1"] }, "web:80", "wbe:80")), {
        instances: ["web:80@10.0.0.1 10.0.0.1:80"],
        skipped: ["wbe:80: its name could not be resolved (ENOTFOUND)"],
      });
    }),
  );

  it.scoped("fails when no name can be resolved and nothing is known", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip((yield* over({ b: "EAI_AGAIN" }, "a:80", "b:80", "a:81")).list);
      assert.strictEqual(error.reason, "unreachable");
      assert.strictEqual(error.message, "no name could be resolved: a (ENOTFOUND), b (EAI_AGAIN)");
    }),
  );

  it.scoped("waits for all names together no longer than the timeout", () =>
    Effect.gen(function* () {
      const discovery = yield* over({ a: "hangs", b: "hangs", c: ["10.0.0.1"] }, "a:80", "b:80", "c:80");
      const fiber = yield* Effect.fork(ask(discovery));
      yield* TestClock.adjust(timeout);
      assert.deepStrictEqual(yield* Fiber.join(fiber), {
        instances: ["c:80@10.0.0.1 10.0.0.1:80"],
        skipped: [
          "a:80: its name could not be resolved (no answer yet)",
          "b:80: its name could not be resolved (no answer yet)",
        ],
      });
    }),
  );

  it.scoped(
    "waits a second for the others when an address is known, and for the first as long as it may",
    () =>
      Effect.gen(function* () {
        const listedAfter = (milliseconds: number, ...backends: ReadonlyArray<string>) =>
          Effect.gen(function* () {
            const discovery = yield* over({ a: "hangs", b: "hangs", c: ["10.0.0.1"] }, ...backends);
            const fiber = yield* Effect.fork(Effect.either(discovery.list));
            yield* TestClock.adjust(Duration.millis(milliseconds - 1));
            assert.isTrue(Option.isNone(yield* Fiber.poll(fiber)));
            yield* TestClock.adjust("1 millis");
            yield* Fiber.join(fiber);
          });
        yield* listedAfter(1000, "a:80", "c:80");
        yield* listedAfter(1000, "a:80", "10.0.0.1:80");
        yield* listedAfter(2000, "a:80", "b:80");
      }),
  );

  it.scoped("keeps an answer that comes late, and lets no other name wait for it again", () =>
    Effect.gen(function* () {
      const late = yield* Deferred.make<ReadonlyArray<string>, LookupError>();
      const names: Record<string, Effect.Effect<ReadonlyArray<string>, LookupError>> = {
        slow: Deferred.await(late),
        good: Effect.succeed(["10.0.0.1"]),
      };
      const asked: Array<string> = [];
      const discovery = yield* StaticDiscovery.make({
        backends: ["slow:80", "good:80"].map(address),
        timeout,
        lookUp: (name) =>
          Effect.suspend(() => {
            asked.push(name);
            return names[name] ?? Effect.fail(new LookupError({ why: "ENOTFOUND" }));
          }),
      });
      const first = yield* Effect.fork(ask(discovery));
      yield* TestClock.adjust(timeout);
      assert.deepStrictEqual((yield* Fiber.join(first)).instances, ["good:80@10.0.0.1 10.0.0.1:80"]);
      // No time passes: it is not waited for.
      names.good = Effect.succeed(["10.0.0.2"]);
      assert.deepStrictEqual(yield* ask(discovery), {
        instances: ["good:80@10.0.0.2 10.0.0.2:80"],
        skipped: ["slow:80: its name could not be resolved (no answer yet)"],
      });
      assert.deepStrictEqual(asked, ["slow", "good", "good"]);
      yield* Deferred.succeed(late, ["10.0.0.9"]);
      yield* Effect.yieldNow();
      names.slow = Effect.never;
      const again = yield* Effect.fork(ask(discovery));
      yield* TestClock.adjust(timeout);
      assert.deepStrictEqual((yield* Fiber.join(again)).instances, [
        "slow:80@10.0.0.9 10.0.0.9:80",
        "good:80@10.0.0.2 10.0.0.2:80",
      ]);
    }),
  );

  it.scoped("never takes a name that is still looked up for an empty list", () =>
    Effect.gen(function* () {
      const discovery = yield* over({ a: "hangs" }, "a:80");
      const interrupted = yield* Effect.fork(discovery.list);
      yield* Effect.yieldNow();
      yield* Fiber.interrupt(interrupted);
      const second = yield* Effect.fork(Effect.flip(discovery.list));
      yield* TestClock.adjust(timeout);
      assert.include((yield* Fiber.join(second)).message, "a (no answer yet)");
      assert.include((yield* Effect.flip(discovery.list)).message, "a (no answer yet)");
    }),
  );

  it.scoped("survives a look-up that fails by a defect, and logs it", () =>
    Effect.gen(function* () {
      const log = yield* CapturedLog.make;
      const discovery = yield* StaticDiscovery.make({
        backends: [address("a:80"), address("10.0.0.1:80")],
        timeout,
        lookUp: () => Effect.dieMessage("boom"),
      });
      const answer = yield* ask(discovery).pipe(Effect.provide(log.layer));
      assert.deepStrictEqual(answer, {
        instances: ["10.0.0.1:80 10.0.0.1:80"],
        skipped: ["a:80: its name could not be resolved (a defect)"],
      });
      assert.include(log.take(LogLevel.Error)[0]?.text, "boom");
    }),
  );

  it.scoped("takes no address that would reach this host or is none", () =>
    Effect.gen(function* () {
      const names = { a: ["0.0.0.0", "::", "nonsense", "::ffff:0.0.0.0", "10.0.0.1"] };
      assert.deepStrictEqual((yield* ask(yield* over(names, "a:80"))).instances, [
        "a:80@10.0.0.1 10.0.0.1:80",
      ]);
    }),
  );

  it.effect("refuses backends and timeouts that cannot be used", () =>
    Effect.gen(function* () {
      const wrong = (options: StaticDiscovery.Options) =>
        Effect.map(Effect.flip(Effect.scoped(StaticDiscovery.make(options))), ({ option }) => option);
      const good = { host: "web", port: 80 };
      for (const bad of [
        { host: "", port: 80 },
        { host: "[::1]", port: 80 },
        { host: `fe80::1%${"x".repeat(16)}`, port: 80 },
        { host: "web", port: 0 },
        { host: "web", port: 70_000 },
        { host: "web", port: Number.NaN },
      ]) {
        assert.strictEqual(yield* wrong({ backends: [good, bad] }), "backends[1]");
      }
      for (const timeout of [Duration.infinity, "25 days", 0] as const) {
        assert.strictEqual(yield* wrong({ backends: [good], timeout }), "timeout");
      }
    }),
  );
});
