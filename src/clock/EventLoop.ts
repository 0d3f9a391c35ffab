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

/** Uses so many elements at a time, with a {@link turn} between each two slices. Answers what came of each. */
export const mapInSlices = <A, B, E, R>(
  elements: ReadonlyArray<A>,
  size: number,
  use: (slice: ReadonlyArray<A>) => Effect.Effect<B, E, R>,
): Effect.Effect<ReadonlyArray<B>, E, R> =>
  Effect.suspend(() => {
    const results: Array<B> = [];
    const from = (start: number): Effect.Effect<ReadonlyArray<B>, E, R> =>
      start >= elements.length
        ? Effect.succeed(results)
        : Effect.flatMap(use(elements.slice(start, start + size)), (result) => {
            results.push(result);
            const next = start + size;
            return next >= elements.length
              ? from(next)
              : Effect.zipRight(
                  turn,
                  Effect.suspend(() => from(next)),
                );
          });
    return from(0);
  });
