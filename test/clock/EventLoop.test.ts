import { assert, describe, it } from "@effect/vitest";
import { Effect, Fiber } from "effect";
import * as EventLoop from "../../src/clock/EventLoop.js";

describe("EventLoop.inSlices", () => {
  it.live("lets the event loop turn between each two slices, and answers what the last one does", () =>
    Effect.gen(function* () {
      let turns = 0;
      const count = (): void => {
        turns += 1;
        immediate = setImmediate(count);
      };
      let immediate = setImmediate(count);
      const seen: Array<number> = [];
      const answer = yield* EventLoop.inSlices(
        (function* () {
          for (let i = 0; i < 100; i++) {
            seen.push(turns);
            yield;
          }
          return "done";
        })(),
      );
      clearImmediate(immediate);
      assert.strictEqual(answer, "done");
      assert.lengthOf(new Set(seen), 100);
    }),
  );

  it.live("can be interrupted between two slices", () =>
    Effect.gen(function* () {
      let slices = 0;
      const fiber = yield* Effect.fork(
        EventLoop.inSlices(
          (function* (): Generator<void, never> {
            for (;;) {
              slices += 1;
              yield;
            }
          })(),
        ),
      );
      yield* EventLoop.turn;
      yield* Fiber.interrupt(fiber);
      const before = slices;
      yield* EventLoop.turn;
      yield* EventLoop.turn;
      assert.strictEqual(slices, before);
    }),
  );
});
