import { assert, describe, it } from "@effect/vitest";
import { Duration, Effect, Either, Fiber, TestClock } from "effect";
import * as StaticDiscovery from "../../src/discovery/StaticDiscovery.js";
import { format, type SocketAddress } from "../../src/net/SocketAddress.js";

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
    resolve: (name) =>
      Effect.suspend(() => {
        const answer = names[name] ?? "ENOTFOUND";
        if (answer === "hangs") return Effect.never;
        return typeof answer === "string"
          ? Effect.fail(new StaticDiscovery.ResolveError({ why: answer }))
          : Effect.succeed(answer);
      }),
  });

const ask = (discovery: ReturnType<typeof over>) =>
  Effect.map(discovery.list, ({ instances, skipped }) => ({
    instances: instances.map(({ id, address }) => `${id} ${format(address)}`),
    skipped: skipped.map(({ entry, why }) => `${entry}: ${why}`),
  }));

describe("StaticDiscovery", () => {
  it.effect("lists addresses as they stand, in their order", () =>
    Effect.gen(function* () {
      const answer = yield* ask(over({}, "10.0.0.2:80", "2001:db8::5:3000", "10.0.0.1:80"));
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

  it.effect("lets a name stand for all its addresses, of one family, each once", () =>
    Effect.gen(function* () {
      const names = {
        both: ["::1", "10.0.0.2", "10.0.0.1", "10.0.0.2"],
        six: ["2001:db8::2", "2001:db8::1"],
      };
      assert.deepStrictEqual((yield* ask(over(names, "both:80", "six:81", "both:82"))).instances, [
        "both:80@10.0.0.1 10.0.0.1:80",
        "both:80@10.0.0.2 10.0.0.2:80",
        "six:81@2001:db8::1 [2001:db8::1]:81",
        "six:81@2001:db8::2 [2001:db8::2]:81",
        "both:82@10.0.0.1 10.0.0.1:82",
        "both:82@10.0.0.2 10.0.0.2:82",
      ]);
    }),
  );

  it.effect("gives each address of a name an id of its own, and the name to all of them", () =>
    Effect.gen(function* () {
      const { instances } = yield* over({ app: ["10.0.0.1", "10.0.0.2"] }, "app:80", "10.0.0.3:80").list;
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

  it.effect("resolves names anew each time, and keeps what a name had when it cannot be resolved", () =>
    Effect.gen(function* () {
      const names: Names = { web: ["10.0.0.1"], db: ["10.0.1.1"] };
      const discovery = over(names, "web:80", "db:5432", "10.9.9.9:80");
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

  it.effect("does without a name that never was resolved", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* ask(over({ web: ["10.0.0.1"] }, "web:80", "wbe:80")), {
        instances: ["web:80@10.0.0.1 10.0.0.1:80"],
        skipped: ["wbe:80: its name could not be resolved (ENOTFOUND)"],
      });
    }),
  );

  it.effect("fails when no name can be resolved and nothing is known", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(over({ b: "EAI_AGAIN" }, "a:80", "b:80", "a:81").list);
      assert.strictEqual(error.reason, "unreachable");
      assert.strictEqual(error.message, "no name could be resolved: a (ENOTFOUND), b (EAI_AGAIN)");
    }),
  );

  it.effect("waits for all names together no longer than the timeout", () =>
    Effect.gen(function* () {
      const discovery = over({ a: "hangs", b: "hangs", c: ["10.0.0.1"] }, "a:80", "b:80", "c:80");
      const fiber = yield* Effect.fork(ask(discovery));
      yield* TestClock.adjust(timeout);
      assert.deepStrictEqual(yield* Fiber.join(fiber), {
        instances: ["c:80@10.0.0.1 10.0.0.1:80"],
        skipped: [
          "a:80: its name could not be resolved (no answer within 2s)",
          "b:80: its name could not be resolved (no answer within 2s)",
        ],
      });
    }),
  );

  it.live("resolves as the operating system does it", () =>
    Effect.gen(function* () {
      const resolve = StaticDiscovery.makeSystemResolve();
      const [one, other] = yield* Effect.all([resolve("localhost"), resolve("localhost")], {
        concurrency: 2,
      });
      assert.isTrue(one.includes("127.0.0.1") || one.includes("::1"));
      assert.deepStrictEqual(one, other);
      // RFC 6761 section 6.4 reserves the name: it does not exist.
      const missing = yield* Effect.either(resolve("nowhere.invalid"));
      assert.isTrue(Either.isLeft(missing));
    }),
  );
});
