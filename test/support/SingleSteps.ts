/**
 * Work in slices does one step in each turn of the event loop: whenever the time is read, two milliseconds more have gone
 * by on monotonic time, which is longer than a slice.
 */
import { Clock, Effect } from "effect";

export const inEachTurn = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.clockWith((clock) => {
    let readings = 0n;
    const nanos = (): bigint => {
      readings += 1n;
      return clock.unsafeCurrentTimeNanos() + readings * 2_000_000n;
    };
    return Effect.withClock(effect, {
      [Clock.ClockTypeId]: Clock.ClockTypeId,
      sleep: (duration) => clock.sleep(duration),
      unsafeCurrentTimeMillis: () => clock.unsafeCurrentTimeMillis(),
      currentTimeMillis: clock.currentTimeMillis,
      unsafeCurrentTimeNanos: nanos,
      currentTimeNanos: Effect.sync(nanos),
    });
  });
