import { assert, describe, it } from "@effect/vitest";
import { Duration, Effect, TestClock } from "effect";
import * as LogThrottle from "../../src/log/LogThrottle.js";
import * as CapturedLog from "../support/CapturedLog.js";
import * as SetClock from "../support/SetClock.js";

describe("LogThrottle", () => {
  it.effect(
    "writes the first line at once, and the next one after the interval with how many were suppressed",
    () =>
      Effect.gen(function* () {
        const log = yield* CapturedLog.make;
        const throttle = LogThrottle.make(Duration.seconds(5));
        const write = Effect.provide(throttle(Effect.logInfo("refused")), log.layer);
        yield* write;
        assert.deepStrictEqual(
          log.take().map((line) => [line.message, line.annotations]),
          [["refused", {}]],
        );
        yield* Effect.repeatN(write, 99);
        yield* TestClock.adjust("4999 millis");
        yield* write;
        assert.deepStrictEqual(log.take(), []);
        yield* TestClock.adjust("1 millis");
        yield* write;
        assert.deepStrictEqual(
          log.take().map((line) => line.annotations),
          [{ suppressed: 101 }],
        );
        yield* TestClock.adjust("5 seconds");
        yield* write;
        assert.deepStrictEqual(
          log.take().map((line) => line.annotations),
          [{}],
        );
      }),
  );

  it.effect("goes on writing when the wall clock is set back an hour", () =>
    Effect.gen(function* () {
      const log = yield* CapturedLog.make;
      const throttle = LogThrottle.make(Duration.seconds(5));
      const { clock, set } = yield* SetClock.make;
      const write = throttle(Effect.logInfo("refused")).pipe(
        Effect.provide(log.layer),
        Effect.withClock(clock),
      );
      yield* write;
      set(-3_600_000);
      yield* TestClock.adjust("5 seconds");
      yield* write;
      assert.strictEqual(log.take().length, 2);
    }),
  );
});
