/**
 * Long computations run in slices of one millisecond, with a turn of the event loop between two slices, in which input
 * on sockets is handled. (Effect's own yielding gives no such turn: it resumes thousands of times as a microtask within
 * the same turn.) The work is divided into steps. A step should take at most 0.1 ms: code that is not compiled yet
 * takes ten times as long.
 *
 * ```ts
 * const total = yield* TimeSlices.run(function* () {
 *   let sum = 0
 *   for (const [i, n] of numbers.entries()) {
 *     sum += n
 *     if (i % 1_000 === 999) yield
 *   }
 *   return sum
 * }())
 * ```
 */
import { Effect } from "effect";
import * as MonotonicClock from "./MonotonicClock.js";

/** Resumes one waiting computation in each turn of the event loop, in the order in which they asked. */
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

/** One for the process, as it has one event loop. */
const turns = new Turns();

/**
 * Waits for a turn of the event loop: it ends after a round of input was handled. Each turn resumes one computation
 * only, so that input is delayed by one slice of work, however many computations are in progress.
 */
export const turn: Effect.Effect<void> = Effect.async((resume) => {
  const goOn = (): void => resume(Effect.void);
  turns.wait(goOn);
  return Effect.sync(() => turns.leave(goOn));
});

/** A slice ends after the step during which it reaches this age, in milliseconds. */
const sliceMillis = 1;

/** A slice also ends after this many steps: a test's clock stands still. */
const mostSteps = 1_000;

/** Runs the generator to its end; each `yield` ends a step. It can be interrupted between two slices. */
export const run = <A>(steps: Generator<void, A>): Effect.Effect<A> =>
  Effect.flatMap(MonotonicClock.reader, (now) => {
    const slice: Effect.Effect<A> = Effect.suspend(() => {
      const end = now() + sliceMillis;
      for (let taken = 0; taken < mostSteps; taken++) {
        const step = steps.next();
        if (step.done === true) return Effect.succeed(step.value);
        if (now() >= end) break;
      }
      return Effect.zipRight(turn, slice);
    });
    return slice;
  });

/** Applies `use` to `size` elements in each step. Returns the results of the steps. */
export const map = <A, B, E, R>(
  elements: ReadonlyArray<A>,
  size: number,
  use: (some: ReadonlyArray<A>) => Effect.Effect<B, E, R>,
): Effect.Effect<ReadonlyArray<B>, E, R> =>
  Effect.flatMap(MonotonicClock.reader, (now) => {
    const results: Array<B> = [];
    let at = 0;
    let taken = 0;
    let end = now() + sliceMillis;
    const goOn: Effect.Effect<ReadonlyArray<B>, E, R> = Effect.suspend(() => {
      if (at >= elements.length) return Effect.succeed(results);
      const from = at;
      at += size;
      return Effect.flatMap(use(elements.slice(from, at)), (result) => {
        results.push(result);
        taken += 1;
        if (at >= elements.length || (now() < end && taken < mostSteps)) return goOn;
        return Effect.flatMap(turn, () => {
          taken = 0;
          end = now() + sliceMillis;
          return goOn;
        });
      });
    });
    return goOn;
  });
