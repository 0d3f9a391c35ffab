/**
 * A wall clock that a test sets back or forward, over the test's own clock; monotonic time is not touched by it.
 */
import { Clock, type Duration, Effect, TestClock } from "effect";

export interface SetClock {
  /** To be given to what is tested with `Effect.withClock`. */
  readonly clock: Clock.Clock;
  /** Sets the wall clock by so many milliseconds, from what it shows now. */
  readonly set: (millis: number) => void;
  /** Lets time pass on both, also where {@link clock} is in place. */
  readonly adjust: (duration: Duration.DurationInput) => Effect.Effect<void>;
}

export const make: Effect.Effect<SetClock> = Effect.map(Effect.clock, (clock) => {
  let offset = 0;
  return {
    clock: {
      [Clock.ClockTypeId]: Clock.ClockTypeId,
      sleep: (duration) => clock.sleep(duration),
      unsafeCurrentTimeMillis: () => clock.unsafeCurrentTimeMillis() + offset,
      unsafeCurrentTimeNanos: () => clock.unsafeCurrentTimeNanos(),
      currentTimeMillis: Effect.map(clock.currentTimeMillis, (millis) => millis + offset),
      currentTimeNanos: clock.currentTimeNanos,
    },
    adjust: (duration) => Effect.withClock(TestClock.adjust(duration), clock),
    set: (millis) => {
      offset += millis;
    },
  };
});
