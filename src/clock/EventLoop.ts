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

/** Gives the turns of the event loop to those who wait for one: each turn to one of them, in the order of asking. */
class Turns {
  readonly #waiting = new Set<() => void>();
  #asked = false;

  readonly #next = (): void => {
    this.#asked = false;
    const [first] = this.#waiting;
    if (first === undefined) return;
    this.#waiting.delete(first);
    if (this.#waiting.size > 0) this.#ask();
    first();
  };

  #ask(): void {
    if (this.#asked) return;
    this.#asked = true;
    setImmediate(this.#next);
  }

  wait(goOn: () => void): void {
    this.#waiting.add(goOn);
    this.#ask();
  }

  leave(goOn: () => void): void {
    this.#waiting.delete(goOn);
  }
}

/** A process has one event loop, and so one of these. */
const turns = new Turns();

/**
 * One turn of the event loop: ends after a round of input was looked at. Each turn is given to one of those who wait, so
 * that input is held up by one slice of work however many works are done in slices.
 */
export const turn: Effect.Effect<void> = Effect.async((resume) => {
  const goOn = (): void => resume(Effect.void);
  turns.wait(goOn);
  return Effect.sync(() => turns.leave(goOn));
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
