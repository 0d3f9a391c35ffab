/**
 * A log line that may come thousands of times a second, written at most once per interval with how many were left out.
 */
import { type Duration, Effect } from "effect";
import { toMillis } from "effect/Duration";
import * as MonotonicClock from "../clock/MonotonicClock.js";

/**
 * The first line is written at once. Those that follow within `interval` are only counted, and the next one that is
 * written says how many were suppressed.
 */
export const make = (
  interval: Duration.DurationInput,
): ((line: Effect.Effect<void>) => Effect.Effect<void>) => {
  const millis = toMillis(interval);
  let written = Number.NEGATIVE_INFINITY;
  let suppressed = 0;
  return (line) =>
    Effect.flatMap(MonotonicClock.now, (now) => {
      if (now - written < millis) {
        suppressed += 1;
        return Effect.void;
      }
      const count = suppressed;
      written = now;
      suppressed = 0;
      return count === 0 ? line : Effect.annotateLogs(line, { suppressed: count });
    });
};
