import { assert, describe, it } from "@effect/vitest";
import { Clock, Effect, TestClock } from "effect";
import * as MonotonicClock from "../../src/clock/MonotonicClock.js";
import * as WallClock from "../../src/clock/WallClock.js";
import * as SetClock from "../support/SetClock.js";

const hour = 3_600_000;

describe("WallClock", () => {
  it.effect("converts a monotonic time to when it was, and again to the same", () =>
    Effect.gen(function* () {
      const converter = yield* WallClock.make;
      yield* TestClock.adjust("1 hour");
      const [then, epoch] = [yield* MonotonicClock.now, yield* Clock.currentTimeMillis];
      assert.strictEqual(converter()(then), epoch);
      yield* TestClock.adjust("1 hour");
      assert.strictEqual(converter()(then), epoch);
    }),
  );

  it.effect("keeps the age of a thing when the wall clock is set", () =>
    Effect.gen(function* () {
      const { clock, set } = yield* SetClock.make;
      const converter = yield* Effect.withClock(WallClock.make, clock);
      const then = yield* MonotonicClock.now;
      for (const by of [-hour, 2 * hour]) {
        yield* TestClock.adjust("1 minute");
        const age = (yield* MonotonicClock.now) - then;
        set(by);
        const now = yield* Effect.withClock(Clock.currentTimeMillis, clock);
        assert.strictEqual(now - converter()(then), age);
      }
    }),
  );

  it.effect("does not follow what the clocks drift apart", () =>
    Effect.gen(function* () {
      const { clock, set } = yield* SetClock.make;
      const converter = yield* Effect.withClock(WallClock.make, clock);
      const then = yield* MonotonicClock.now;
      const before = converter()(then);
      set(900);
      assert.strictEqual(converter()(then), before);
    }),
  );
});
