/**
 * Work in slices does one step in each turn of the event loop: whenever the time is read, two milliseconds more have gone
 * by on monotonic time, which is longer than a slice.
 */
import { type Clock, Effect } from "effect";

export const inEachTurn = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.clockWith((clock) => {
    let readings = 0n;
    const nanos = (): bigint => {
      readings += 1n;
      return clock.unsafeCurrentTimeNanos() + readings * 2_000_000n;
    };
    // It is still the test's clock, which can be moved on.
    const stepping: Clock.Clock = Object.assign(Object.create(clock), {
      unsafeCurrentTimeNanos: nanos,
      currentTimeNanos: Effect.sync(nanos),
    });
    return Effect.withClock(effect, stepping);
  });
