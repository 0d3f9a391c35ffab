/**
 * For how long a session may be open. One sweep looks at all open sessions every now and then: none has a timer, and where
 * there is no limit there is no sweep.
 *
 * What is remembered of a session between two looks stands here, by the place of its byte slot, and not with the session:
 * without a limit a session is no larger.
 */
import { Duration, Effect, Random, type Scope } from "effect";
import { PCGRandom } from "effect/Utils";
import * as MonotonicClock from "../clock/MonotonicClock.js";
import type { CutReason, Session } from "./Session.js";

/** In milliseconds; undefined is none. */
export interface Limits {
  /** From its being accepted, a tenth more or less. */
  readonly maxAgeMillis: number | undefined;
}

/** What is looked at of a session. */
export type Subject = Pick<Session, "accepted" | "id"> & { readonly bytes: Pick<Session["bytes"], "place"> };

/** A session may outlast its limit by this part of it, and by what is in {@link shortestInterval}. */
const looksPerLimit = 20;

/** From the end of one sweep to the start of the next, in milliseconds. */
const shortestInterval = 50;
const longestInterval = 5_000;

/** How long to wait between two looks at the same session, in milliseconds; undefined where there is no limit. */
export const intervalOf = ({ maxAgeMillis }: Limits): number | undefined =>
  maxAgeMillis === undefined
    ? undefined
    : Math.min(longestInterval, Math.max(shortestInterval, maxAgeMillis / looksPerLimit));

/** So much of an age is drawn: from nine tenths to eleven. */
const leastAge = 0.9;
const ageSpread = 0.2;

/** Numbers by the place of a session; it grows with the places. */
class Column {
  #numbers = new Float64Array(1_024);

  get(place: number): number {
    return this.#numbers[place] ?? 0;
  }

  set(place: number, value: number): void {
    if (place >= this.#numbers.length) {
      const larger = new Float64Array(Math.max(2 * this.#numbers.length, place + 1));
      larger.set(this.#numbers);
      this.#numbers = larger;
    }
    this.#numbers[place] = value;
  }
}

/** What is remembered of each session from one look to the next, and what follows from it. */
export class TimeLimits {
  /** Which session the rest of the row is about. Ids begin with 1. */
  readonly #ids = new Column();
  /** What its age may be. */
  readonly #ages = new Column();

  constructor(
    readonly limits: Limits,
    /** Evenly from 0 to 1. */
    readonly random: () => number,
  ) {}

  /** Why the session has to end now; undefined where it may go on. `now` is in monotonic milliseconds. */
  look({ accepted, bytes: { place }, id }: Subject, now: number): CutReason | undefined {
    const { maxAgeMillis } = this.limits;
    if (this.#ids.get(place) !== id) {
      this.#ids.set(place, id);
      if (maxAgeMillis !== undefined) {
        this.#ages.set(place, maxAgeMillis * (leastAge + ageSpread * this.random()));
      }
    }
    if (maxAgeMillis !== undefined && now - accepted >= this.#ages.get(place)) return "max-age";
    return undefined;
  }
}

/** Cuts whoever is over its time, until the scope closes. Nothing at all where there is no limit. */
export const sweep = (
  limits: Limits,
  cut: (reasonOf: (session: Session) => CutReason | undefined) => Effect.Effect<unknown>,
): Effect.Effect<void, never, Scope.Scope> =>
  Effect.gen(function* () {
    const interval = intervalOf(limits);
    if (interval === undefined) return;
    const now = yield* MonotonicClock.reader;
    const random = new PCGRandom(yield* Random.nextInt);
    const timeLimits = new TimeLimits(limits, () => random.number());
    yield* Effect.sleep(Duration.millis(interval)).pipe(
      Effect.zipRight(cut((session) => timeLimits.look(session, now()))),
      Effect.forever,
      Effect.forkScoped,
    );
  });
