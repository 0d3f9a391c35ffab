/**
 * Wall-clock time, for what people read: when something happened that was recorded in monotonic time.
 *
 * ```ts
 * const toEpoch = yield* WallClock.make
 * const shown = new Date(toEpoch()(backend.seen.since)).toISOString()
 * ```
 */
import { Effect } from "effect";

/** Converts monotonic time into milliseconds since the epoch. */
export type ToEpoch = (monotonicMillis: number) => number;

/** The two clocks drift apart slowly; more than this between two readings means that the wall clock was set. */
const setMillis = 1_000;

/**
 * A source of converters for this moment. A time is converted to the same text again and again, until somebody sets the
 * wall clock: then to what that clock would have shown, so that the age of a thing stays right.
 */
export const make: Effect.Effect<() => ToEpoch> = Effect.clockWith((clock) =>
  Effect.sync(() => {
    const measured = (): number =>
      clock.unsafeCurrentTimeMillis() - Number(clock.unsafeCurrentTimeNanos()) / 1e6;
    let offset = measured();
    return () => {
      const now = measured();
      if (Math.abs(now - offset) > setMillis) offset = now;
      const held = offset;
      return (monotonicMillis) => Math.round(held + monotonicMillis);
    };
  }),
);

/** When this process started, in milliseconds since the epoch, by the wall clock of then. It never changes. */
export const processStarted: number = performance.timeOrigin;
