/**
 * Prepares the algorithm's tables in a fiber of its own, in slices, whenever the eligible backends have changed.
 */
import { Cause, Effect, Queue, type Scope } from "effect";
import type { Prepared } from "../balancing/Algorithm.js";
import * as TimeSlices from "../clock/TimeSlices.js";
import type * as Pool from "./Pool.js";

/**
 * Between two preparations. A slow start changes the backends so often that they would follow one another without a
 * pause; what has changed meanwhile costs each choice some nanoseconds.
 */
const pauseMillis = 50;

/**
 * Returns what is to be called when the eligible backends have changed. `install` gets what a preparation came to.
 * Changes that come while one runs make one further run.
 */
export const make = (
  pool: Effect.Effect<Pool.Pool>,
  install: (prepared: Prepared<unknown>) => Effect.Effect<void>,
): Effect.Effect<Effect.Effect<void>, never, Scope.Scope> =>
  Effect.gen(function* () {
    // One place is enough: it says that the eligible backends are not those of the last preparation.
    const stale = yield* Queue.sliding<void>(1);
    const prepare = Effect.gen(function* () {
      yield* Queue.take(stale);
      const { algorithm, members, state } = yield* pool;
      const slices = algorithm.prepare?.(members, state);
      if (slices !== undefined) yield* install(yield* TimeSlices.run(slices));
    }).pipe(
      // An algorithm may be from outside: one that throws is asked again when the backends change once more.
      Effect.catchAllDefect((defect) =>
        Effect.logError("the algorithm could not be prepared", Cause.die(defect)),
      ),
    );
    yield* Effect.forkScoped(Effect.forever(Effect.zipRight(prepare, Effect.sleep(pauseMillis))));
    return Effect.asVoid(Queue.offer(stale, undefined));
  });
