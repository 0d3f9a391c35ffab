/** Counts the turns of the event loop, to see whether it had some while something went on. */
import { Effect, type Scope } from "effect";

/** Counts until the scope closes; answers how many there were so far. */
export const counted: Effect.Effect<() => number, never, Scope.Scope> = Effect.acquireRelease(
  Effect.sync(() => {
    let turns = 0;
    const count = (): void => {
      turns += 1;
      immediate = setImmediate(count);
    };
    let immediate = setImmediate(count);
    return { turns: () => turns, stop: () => clearImmediate(immediate) };
  }),
  ({ stop }) => Effect.sync(stop),
).pipe(Effect.map(({ turns }) => turns));
