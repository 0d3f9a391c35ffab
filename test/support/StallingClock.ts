/**
 * A clock on which sleeping takes no time at all, and whose sleeps come late where a test says so: that is what a stall
 * looks like to those who wait.
 */
import { Clock, Duration, Effect, Layer } from "effect";

export interface StallingClock {
  readonly layer: Layer.Layer<never>;
  /** Monotonic milliseconds. */
  readonly now: () => number;
}

/** `lateness` says by how many milliseconds the sleep that begins at a time is late. */
export const make = (lateness: (now: number) => number): StallingClock => {
  let now = 0;
  const clock: Clock.Clock = {
    ...Clock.make(),
    unsafeCurrentTimeMillis: () => now,
    currentTimeMillis: Effect.sync(() => now),
    unsafeCurrentTimeNanos: () => BigInt(Math.round(now * 1e6)),
    currentTimeNanos: Effect.sync(() => BigInt(Math.round(now * 1e6))),
    sleep: (duration) =>
      Effect.zipRight(
        Effect.yieldNow(),
        Effect.sync(() => {
          now += Duration.toMillis(duration) + lateness(now);
        }),
      ),
  };
  return { layer: Layer.setClock(clock), now: () => now };
};
