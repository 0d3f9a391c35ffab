import { assert, describe, it } from "@effect/vitest";
import { Effect, Fiber } from "effect";
import * as TimeSlices from "../../src/clock/TimeSlices.js";
import * as LoopTurns from "../support/LoopTurns.js";
import * as SingleSteps from "../support/SingleSteps.js";

describe("TimeSlices.run", () => {
  it.scopedLive(
    "lets the event loop turn after a step that has used up the time, and answers what the last one does",
    () =>
      Effect.gen(function* () {
        const turns = yield* LoopTurns.counted;
        const seen: Array<number> = [];
        const answer = yield* TimeSlices.run(
          (function* () {
            for (let i = 0; i < 100; i++) {
              seen.push(turns());
              yield;
            }
            return "done";
          })(),
        );
        assert.strictEqual(answer, "done");
        assert.lengthOf(new Set(seen), 100);
      }).pipe(SingleSteps.inEachTurn),
  );

  it.scopedLive(
    "does one slice in a turn of the event loop, however many works there are, each in its turn",
    () =>
      Effect.gen(function* () {
        const turns = yield* LoopTurns.counted;
        const seen: Array<readonly [turn: number, work: number]> = [];
        const work = (number: number) =>
          TimeSlices.run(
            (function* () {
              for (let i = 0; i < 20; i++) {
                yield;
                seen.push([turns(), number]);
              }
            })(),
          );
        yield* Effect.all([work(0), work(1), work(2)], { concurrency: "unbounded" });
        assert.lengthOf(new Set(seen.map(([turn]) => turn)), 60);
        assert.deepStrictEqual(
          seen.map(([, number]) => number),
          Array.from({ length: 60 }, (_, i) => i % 3),
        );
      }).pipe(SingleSteps.inEachTurn),
  );

  it.live("goes on with the others when one that waits is interrupted", () =>
    Effect.gen(function* () {
      const first = yield* Effect.fork(TimeSlices.turn);
      const second = yield* Effect.fork(TimeSlices.turn);
      yield* Effect.yieldNow();
      yield* Fiber.interrupt(first);
      yield* Fiber.join(second);
      yield* TimeSlices.turn;
    }),
  );

  it.live("can be interrupted between two slices", () =>
    Effect.gen(function* () {
      let slices = 0;
      const fiber = yield* Effect.fork(
        TimeSlices.run(
          (function* (): Generator<void, never> {
            for (;;) {
              slices += 1;
              yield;
            }
          })(),
        ),
      );
      yield* TimeSlices.turn;
      yield* Fiber.interrupt(fiber);
      const before = slices;
      yield* TimeSlices.turn;
      yield* TimeSlices.turn;
      assert.strictEqual(slices, before);
    }),
  );
});
