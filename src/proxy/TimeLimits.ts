/**
 * The idle, half-closed and age limits of sessions. A periodic sweep looks at all open sessions, so that no session
 * needs a timer; without a limit there is no sweep. The data path pays nothing: a look compares the byte counts with
 * those at the look before.
 *
 * What is remembered of a session between two looks is kept here, by the index of its byte slot, so that sessions are
 * no larger when there is no limit.
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

/** A look each twentieth of the limit, within the bounds below: a session may overrun its limit by two intervals. */
const looksPerLimit = 20;

/** Bounds of the interval from the end of one sweep to the start of the next, in milliseconds. */
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
 * Query unacknowledged bytes only after a session was idle for this part of its limit, to spare short pauses a system
 * call; so the idle timeout is accurate to 10 %.
 */
const askedAfter = 0.1;

/** Stands for the unacknowledged bytes before they are queried. */
const notAsked = -1;

/** The age limit of each session is drawn from 90 % to 110 % of the setting. */
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
  /**
   * Bytes that had not been acknowledged; {@link notAsked}. While there are none, bytes that are read tell everything.
   */
  readonly #unacknowledged = new Column();

  constructor(
    readonly limits: Limits,
    readonly wire: Wire,
    /** Evenly from 0 to 1. */
    readonly random: () => number,
  ) {}

  /**
   * Why the session has to end now; undefined if it may continue. `now` is in monotonic milliseconds, and `ran` is how
   * many of them this process ran: time while the process was suspended does not count as idle.
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
    // A session that waits for a backend has other limits.
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

/** Cuts the sessions over their limits, until the scope closes. Does nothing if there is no limit. */
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
          // After a pause, handle first the input that arrived meanwhile.
          return passed < interval + stallMillis ? Effect.void : TimeSlices.turn;
        }),
      ),
      Effect.zipRight(Effect.suspend(() => cut((session) => timeLimits.look(session, now(), ran)))),
      Effect.forever,
      Effect.forkScoped,
    );
  });
