import { assert, describe, it } from "@effect/vitest";
import { Effect, TestClock } from "effect";
import * as MonotonicClock from "../../src/clock/MonotonicClock.js";

describe("MonotonicClock", () => {
  it.effect("counts the milliseconds that a test lets pass", () =>
    Effect.gen(function* () {
      const read = yield* MonotonicClock.reader;
      const [from, readFrom] = [yield* MonotonicClock.now, read()];
      yield* TestClock.adjust("1500 millis");
      assert.strictEqual((yield* MonotonicClock.now) - from, 1500);
      assert.strictEqual(read() - readFrom, 1500);
    }),
  );

  it.live("does not follow the wall clock when that is set", () =>
    Effect.gen(function* () {
      const { now } = Date;
      const from = yield* MonotonicClock.now;
      const to = yield* Effect.acquireUseRelease(
        Effect.sync(() => {
          Date.now = () => now() - 3_600_000;
        }),
        () => MonotonicClock.now,
        () =>
          Effect.sync(() => {
            Date.now = now;
          }),
      );
      assert.isAtLeast(to, from);
    }),
  );
});
