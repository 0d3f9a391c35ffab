import { assert, describe, it } from "@effect/vitest";
import { Duration, Effect, TestClock } from "effect";
import * as Summary from "../../src/proxy/Summary.js";
import * as CapturedLog from "../support/CapturedLog.js";

describe("Summary", () => {
  it.effect(
    "tells the first line at once, and the next one after the interval with how many went untold",
    () =>
      Effect.gen(function* () {
        const log = yield* CapturedLog.make;
        const summary = Summary.make(Duration.seconds(5));
        const say = Effect.provide(summary(Effect.logInfo("refused")), log.layer);
        yield* say;
        assert.deepStrictEqual(
          log.take().map((line) => [line.message, line.annotations]),
          [["refused", {}]],
        );
        yield* Effect.repeatN(say, 99);
        yield* TestClock.adjust("4999 millis");
        yield* say;
        assert.deepStrictEqual(log.take(), []);
        yield* TestClock.adjust("1 millis");
        yield* say;
        assert.deepStrictEqual(
          log.take().map((line) => line.annotations),
          [{ "not told since": 101 }],
        );
        yield* TestClock.adjust("5 seconds");
        yield* say;
        assert.deepStrictEqual(
          log.take().map((line) => line.annotations),
          [{}],
        );
      }),
  );
});
