/**
 * What {@link Deadlines} need of a loop, in a program of fibers: each timer is a fiber of the scope, on Effect's clock.
 */
import { Effect, FiberId, Runtime, type Scope } from "effect";
import type { Loop } from "./Deadlines.js";
import * as MonotonicClock from "./MonotonicClock.js";

export const make: Effect.Effect<Loop, never, Scope.Scope> = Effect.gen(function* () {
  const scope = yield* Effect.scope;
  const fork = Runtime.runFork(yield* Effect.runtime());
  return {
    now: yield* MonotonicClock.reader,
    after: (millis, task) => {
      const fiber = fork(Effect.zipRight(Effect.sleep(millis), Effect.sync(task)), { scope });
      return { cancel: () => fiber.unsafeInterruptAsFork(FiberId.none) };
    },
    // A turn of the loop looks at all input between its timers and its immediates.
    afterInput: (task) => void setImmediate(task),
  };
});
