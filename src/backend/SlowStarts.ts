/**
 * When backends that are in a slow start get the next tenth of their weight: one fiber for all of them, and none where
 * the setting is 0. What a slow start does to a backend is in {@link Pool}.
 */
import { Effect, Queue, type Scope } from "effect";
import * as MonotonicClock from "../clock/MonotonicClock.js";
import * as TimeSlices from "../clock/TimeSlices.js";
import { type Backend, slowStartSteps } from "./Backend.js";

/** From the first tenth to the whole weight. */
const raises = slowStartSteps - 1;

/** Backends that are raised in one step of a slice. */
const stepSize = 4;

export interface SlowStarts {
  /** This backend has begun a slow start, anew if it was in one. */
  readonly began: (backend: Backend) => void;
  /** It is down, or has gone: it is not raised any more. */
  readonly ended: (backend: Backend) => void;
}

interface Started {
  readonly backend: Backend;
  /** When it began, in monotonic milliseconds. */
  readonly since: number;
  /** The raises that it has had. */
  readonly raised: number;
}

const none: SlowStarts = { began: () => {}, ended: () => {} };

/**
 * Over so many milliseconds each backend is raised from a tenth of its weight to the whole; with 0 there are no slow
 * starts. `raise` returns those that it has raised, as they are then. The scope owns the fiber.
 */
export const make = (
  durationMillis: number,
  raise: (backends: ReadonlyArray<Backend>) => Effect.Effect<ReadonlyArray<Backend>>,
): Effect.Effect<SlowStarts, never, Scope.Scope> =>
  Effect.gen(function* () {
    if (durationMillis === 0) return none;
    const now = yield* MonotonicClock.reader;
    // By incarnation: no more than the pool has backends. The next to be raised is the first, as all wait equally long.
    const started = new Map<number, Started>();
    // A capacity of one is enough: an element says that there is one in a slow start.
    const some = yield* Queue.sliding<void>(1);

    const dueOf = ({ raised, since }: Started): number => since + ((raised + 1) * durationMillis) / raises;

    const due = (at: number): ReadonlyArray<Started> => {
      const found: Array<Started> = [];
      for (const one of started.values()) {
        if (dueOf(one) > at) break;
        found.push(one);
      }
      return found;
    };

    const raiseSome = (slice: ReadonlyArray<Started>) =>
      Effect.map(raise(slice.map(({ backend }) => backend)), (backends) => {
        const after = new Map(backends.map((backend) => [backend.incarnation, backend]));
        for (const one of slice) {
          const { incarnation } = one.backend;
          // It may have begun anew since the slice was made.
          if (started.get(incarnation) !== one) continue;
          started.delete(incarnation);
          const backend = after.get(incarnation);
          if (backend?.slowStart !== undefined) {
            started.set(incarnation, { ...one, raised: one.raised + 1 });
          }
        }
      });

    const next = Effect.suspend(() => {
      const [first] = started.values();
      if (first === undefined) return Queue.take(some);
      const wait = dueOf(first) - now();
      return wait > 0
        ? Effect.sleep(Math.ceil(wait))
        : TimeSlices.map(due(now()), stepSize, (slice) =>
            raiseSome(slice.filter((one) => started.get(one.backend.incarnation) === one)),
          );
    });
    yield* Effect.forkScoped(Effect.forever(next));

    return {
      began: (backend) => {
        started.delete(backend.incarnation);
        started.set(backend.incarnation, { backend, since: now(), raised: 0 });
        Queue.unsafeOffer(some, undefined);
      },
      ended: ({ incarnation }) => {
        started.delete(incarnation);
      },
    };
  });
