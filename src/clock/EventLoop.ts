/**
 * Work that takes longer than others may wait is done in slices of a millisecond, with a turn of the event loop between
 * each two: what has arrived on sockets meanwhile is looked at there. (Effect's own yielding is no such turn: it goes on in
 * the same one, as a microtask, thousands of times.) The work is given in steps, which should take a tenth of that at most:
 * code that has not been compiled yet takes ten times as long.
 *
 * ```ts
 * const total = yield* EventLoop.inSlices(function* () {
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

/** A slice ends with the step in which it is this old, in milliseconds. */
const sliceMillis = 1;

/** It ends after so many steps too: a test's clock stands still. */
const mostSteps = 1_000;

/** Runs the generator to its end; each `yield` ends a step. Can be interrupted between two slices. */
export const inSlices = <A>(steps: Generator<void, A>): Effect.Effect<A> =>
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

/** Uses so many elements in each step. Answers what came of each step. */
export const mapInSlices = <A, B, E, R>(
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
