/**
 * A log line that may come thousands of times a second, told at most once in a while with how often it came.
 */
import { Clock, type Duration, Effect } from "effect";
import { toMillis } from "effect/Duration";

/**
 * The first `log` is told at once; those that follow within `interval` are only counted, and the next one told
 * says how many went untold.
 */
export const make = (interval: Duration.DurationInput) => {
  const millis = toMillis(interval);
  let told = -Infinity;
  let untold = 0;
  return (log: Effect.Effect<void>): Effect.Effect<void> =>
    Effect.flatMap(Clock.currentTimeMillis, (now) => {
      if (now - told < millis) {
        untold += 1;
        return Effect.void;
      }
      const silent = untold;
      told = now;
      untold = 0;
      return silent === 0 ? log : Effect.annotateLogs(log, { "not told since": silent });
    });
};
