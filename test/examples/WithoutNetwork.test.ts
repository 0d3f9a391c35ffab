import { assert, describe, it } from "@effect/vitest";
import { Effect, Logger } from "effect";
import { echoed } from "./WithoutNetwork.js";

describe("a test of one's own without a network", () => {
  it.effect("lists a backend, finds it well and relays to it, and the clock stands still", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* echoed, "hello");
    }).pipe(Effect.provide(Logger.remove(Logger.defaultLogger))),
  );
});
