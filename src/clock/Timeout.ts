/**
 * Stalls: times in which this process did not run. It was stopped, its machine was paused, or its loop was blocked.
 * What was answered meanwhile waits in the kernel, so a deadline is extended by the stalls in it, and expires after a
 * round of input was looked at.
 */
import { Duration, Effect } from "effect";
import * as MonotonicClock from "./MonotonicClock.js";
import { longestExtension, lookMillis, stallMillis } from "./StallLimits.js";
import * as TimeSlices from "./TimeSlices.js";

/** Waits for this duration, extended by the stalls in it. */
const deadline = (millis: number): Effect.Effect<void> =>
  Effect.gen(function* () {
    const clock = yield* MonotonicClock.reader;
    let due = clock() + millis;
    let extended = 0;
    for (;;) {
      const before = clock();
      const step = Math.min(lookMillis, due - before);
      yield* Effect.sleep(Duration.millis(step));
      const late = clock() - before - step;
      if (late >= stallMillis) {
        const extension = Math.min(late, longestExtension - extended);
        due += extension;
        extended += extension;
      }
      if (clock() < due) continue;
      yield* TimeSlices.turn;
      return;
    }
  });

/**
 * Interrupts the effect, and fails, when it has not ended within `millis`. Stalls do not count, up to
 * {@link longestExtension} in all.
 */
export const timeoutFail =
  <E>(millis: number, onTimeout: () => E) =>
  <A, E2, R>(effect: Effect.Effect<A, E2, R>): Effect.Effect<A, E | E2, R> =>
    Effect.raceFirst(effect, Effect.zipRight(deadline(millis), Effect.failSync(onTimeout)));
