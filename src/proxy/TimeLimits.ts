/**
 * For how long a session may be open. One sweep looks at all open sessions every now and then: none has a timer, and where
 * there is no limit there is no sweep. The path of bytes pays nothing: a look compares what was counted with what had been
 * counted at the look before.
 *
 * What is remembered of a session between two looks stands here, by the place of its byte slot, and not with the session:
 * without a limit a session is no larger.
 */
import { Duration, Effect, Random, type Scope } from "effect";
import { PCGRandom } from "effect/Utils";
import * as MonotonicClock from "../clock/MonotonicClock.js";
import { stallMillis } from "../clock/StallLimits.js";
import * as TimeSlices from "../clock/TimeSlices.js";
import type { Transport } from "../transport/Transport.js";
import type { CutReason, Session } from "./Session.js";

/** In milliseconds; undefined is none. */
export interface Limits {
  /** Without a byte that was read from either side, or acknowledged by it. A FIN counts as a byte. */
  readonly idleMillis: number | undefined;
  /** The same once one side has sent FIN. */
  readonly halfClosedMillis: number | undefined;
  /** From its being accepted, a tenth more or less. */
  readonly maxAgeMillis: number | undefined;
}

/** What is looked at of a session. */
export type Subject = Pick<Session, "accepted" | "client" | "connectMillis" | "id"> & {
  readonly bytes: Pick<Session["bytes"], "halfClosed" | "place" | "received" | "sent">;
};

/** What is asked of the transport. */
export type Wire = Pick<typeof Transport.Service, "bringUpToDate" | "unacknowledged">;

/** A session may outlast its limit by two of these parts of it, and by what is in {@link shortestInterval}. */
const looksPerLimit = 20;

/** From the end of one sweep to the start of the next, in milliseconds. */
const shortestInterval = 50;
const longestInterval = 5_000;

/** How long to wait between two looks at the same session, in milliseconds; undefined where there is no limit. */
export const intervalOf = ({ halfClosedMillis, idleMillis, maxAgeMillis }: Limits): number | undefined => {
  const none = Number.POSITIVE_INFINITY;
  const shortest = Math.min(halfClosedMillis ?? none, idleMillis ?? none, maxAgeMillis ?? none);
  return shortest === none
    ? undefined
    : Math.min(longestInterval, Math.max(shortestInterval, shortest / looksPerLimit));
};

/**
 * After so much of its limit without a byte that was read, the kernel is asked what was not acknowledged: not of those
 * that pause for a moment. By so much it may err.
 */
const askedAfter = 0.1;

/** In place of the bytes that were not acknowledged, before that was asked. */
const notAsked = -1;

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
  /** What it had carried, and whether it was half-closed: see {@link signOf}. */
  readonly #signs = new Column();
  /** Since when it shows no sign of life, in milliseconds in which this process ran. */
  readonly #quietSince = new Column();
  /** Bytes that had not been acknowledged; {@link notAsked}. While there are none, bytes that are read tell everything. */
  readonly #unacknowledged = new Column();

  constructor(
    readonly limits: Limits,
    readonly wire: Wire,
    /** Evenly from 0 to 1. */
    readonly random: () => number,
  ) {}

  /**
   * Why the session has to end now; undefined where it may go on. `now` is in monotonic milliseconds, and `ran` those in
   * which this process ran: one that was stopped does not take the connections for idle that it did not look at.
   */
  look(session: Subject, now: number, ran: number): CutReason | undefined {
    const { accepted, bytes, id } = session;
    const { halfClosedMillis, idleMillis, maxAgeMillis } = this.limits;
    const { place } = bytes;
    if (this.#ids.get(place) !== id) {
      this.#ids.set(place, id);
      if (maxAgeMillis !== undefined) {
        this.#ages.set(place, maxAgeMillis * (leastAge + ageSpread * this.random()));
      }
      this.#alive(place, bytes, ran);
    }
    if (maxAgeMillis !== undefined && now - accepted >= this.#ages.get(place)) return "max-age";
    const halfClosed = bytes.halfClosed && halfClosedMillis !== undefined;
    const limit = halfClosed ? Math.min(halfClosedMillis, idleMillis ?? halfClosedMillis) : idleMillis;
    if (limit === undefined) return undefined;
    // Who waits for a backend has limits of its own.
    if (session.connectMillis === undefined || this.#isAlive(session, limit, ran)) {
      this.#alive(place, bytes, ran);
      return undefined;
    }
    if (ran - this.#quietSince.get(place) < limit) return undefined;
    return halfClosed && halfClosedMillis === limit ? "half-closed-timeout" : "idle-timeout";
  }

  /** Whether it has shown a sign of life since the last look, or does so at the last moment. */
  #isAlive({ bytes, client }: Subject, limit: number, ran: number): boolean {
    const { place } = bytes;
    const sign = this.#signs.get(place);
    if (signOf(bytes) !== sign) return true;
    const quiet = ran - this.#quietSince.get(place);
    const before = this.#unacknowledged.get(place);
    if (before !== 0 && quiet >= limit * askedAfter) {
      const unacknowledged = this.wire.unacknowledged?.(client) ?? 0;
      this.#unacknowledged.set(place, unacknowledged);
      if (before !== notAsked && unacknowledged !== before) return true;
    }
    if (quiet < limit) return false;
    this.wire.bringUpToDate?.(client);
    return signOf(bytes) !== sign;
  }

  #alive(place: number, bytes: Subject["bytes"], ran: number): void {
    this.#unacknowledged.set(place, notAsked);
    this.#signs.set(place, signOf(bytes));
    this.#quietSince.set(place, ran);
  }
}

/** Another number after each byte, and after a FIN. */
const signOf = ({ halfClosed, received, sent }: Subject["bytes"]): number =>
  2 * (received + sent) + (halfClosed ? 1 : 0);

/** Cuts whoever is over its time, until the scope closes. Nothing at all where there is no limit. */
export const sweep = (
  limits: Limits,
  wire: Wire,
  cut: (reasonOf: (session: Session) => CutReason | undefined) => Effect.Effect<unknown>,
): Effect.Effect<void, never, Scope.Scope> =>
  Effect.gen(function* () {
    const interval = intervalOf(limits);
    if (interval === undefined) return;
    const now = yield* MonotonicClock.reader;
    const random = new PCGRandom(yield* Random.nextInt);
    const timeLimits = new TimeLimits(limits, wire, () => random.number());
    let before = now();
    let ran = 0;
    yield* Effect.sleep(Duration.millis(interval)).pipe(
      Effect.zipRight(
        Effect.suspend(() => {
          const passed = now() - before;
          before += passed;
          ran += Math.min(passed, interval + stallMillis);
          // What has arrived while it did not run is looked at first.
          return passed < interval + stallMillis ? Effect.void : TimeSlices.turn;
        }),
      ),
      Effect.zipRight(Effect.suspend(() => cut((session) => timeLimits.look(session, now(), ran)))),
      Effect.forever,
      Effect.forkScoped,
    );
  });
