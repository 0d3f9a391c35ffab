/**
 * Work that takes longer than others may wait is done in slices, with a turn of the event loop between each two: what
 * has arrived on sockets meanwhile is looked at there. (Effect's own yielding is no such turn: it goes on in the same
 * one, as a microtask, thousands of times.)
 *
 * ```ts
 * const total = yield* EventLoop.inSlices(function* () {
 *   let sum = 0
 *   for (const [i, n] of numbers.entries()) {
 *     sum += n
 *     if (i % 10_000 === 9_999) yield
 *   }
 *   return sum
 * }())
 * ```
 */
import { Effect } from "effect";

/** One turn of the event loop: ends after a round of input was looked at. */
export const turn: Effect.Effect<void> = Effect.async((resume) => {
  const immediate = setImmediate(() => resume(Effect.void));
  return Effect.sync(() => clearImmediate(immediate));
});

/** Runs the generator to its end, with a {@link turn} at each `yield`. Can be interrupted between two slices. */
export const inSlices = <A>(slices: Generator<void, A>): Effect.Effect<A> =>
  Effect.suspend(() => {
    const slice = slices.next();
    return slice.done === true ? Effect.succeed(slice.value) : Effect.zipRight(turn, inSlices(slices));
  });
