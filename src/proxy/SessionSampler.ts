/**
 * Looks at open sessions twice, a second apart: what each carries is the difference, and nothing is kept of a session while
 * nobody asks. A hundred thousand of them are looked at in slices.
 */
import { Duration, Effect } from "effect";
import * as TimeSlices from "../clock/TimeSlices.js";
import type { Transport } from "../transport/Transport.js";
import type { OpenSessions } from "./OpenSessions.js";
import type { Session } from "./Session.js";
import type { OpenSession, SampledSession, Selection } from "./Sessions.js";

/** What is asked of the transport. */
export type Wire = Pick<typeof Transport.Service, "bringUpToDate" | "idleMillis">;

/** From one look to the other. */
const interval = Duration.seconds(1);

/** Sessions in one step, and those of which the kernel is asked in one. */
const sessionsPerStep = 100;
const askedPerStep = 20;

/** What is sampled, and by what. */
export interface Sources {
  readonly open: OpenSessions;
  readonly view: (session: Session, at: number) => OpenSession;
  /** Monotonic milliseconds. */
  readonly now: () => number;
  readonly wire: Wire;
}

/** Values with the largest keys, as many as there may be: a heap, the smallest key at its root. */
export class Largest<A> {
  readonly #keys: Array<number> = [];
  readonly #values: Array<A> = [];

  constructor(readonly most: number) {}

  add(key: number, value: A): void {
    if (this.#keys.length < this.most) {
      this.#rise(this.#keys.length, key, value);
    } else if (key > this.#key(0)) {
      this.#sink(key, value);
    }
  }

  /** In no order. */
  get values(): ReadonlyArray<A> {
    return this.#values;
  }

  #key(at: number): number {
    return this.#keys[at] ?? Number.POSITIVE_INFINITY;
  }

  #put(at: number, key: number, value: A): void {
    this.#keys[at] = key;
    this.#values[at] = value;
  }

  #move(from: number, to: number): void {
    // Inside the heap.
    this.#put(to, this.#key(from), this.#values[from] as A);
  }

  /** From the end towards the root. */
  #rise(from: number, key: number, value: A): void {
    let at = from;
    while (at > 0) {
      const above = (at - 1) >> 1;
      if (this.#key(above) <= key) break;
      this.#move(above, at);
      at = above;
    }
    this.#put(at, key, value);
  }

  /** In place of the root, and down from there. */
  #sink(key: number, value: A): void {
    let at = 0;
    for (;;) {
      let below = 2 * at + 1;
      if (this.#key(below + 1) < this.#key(below)) below += 1;
      if (this.#key(below) >= key) break;
      this.#move(below, at);
      at = below;
    }
    this.#put(at, key, value);
  }
}

const isSelected = ({ backend, client }: Selection, session: Session): boolean =>
  (backend === undefined || session.backend?.id === backend || session.backend?.name === backend) &&
  client?.(session.address.host) !== false;

/** Those that are looked at: of the busiest nobody knows before the second look. */
function* candidatesOf(
  open: Iterable<Session>,
  selection: Selection,
): Generator<void, ReadonlyArray<Session>> {
  const { limit, order } = selection;
  const all: Array<Session> = [];
  const chosen = new Largest<Session>(limit);
  let visited = 0;
  for (const session of open) {
    if (isSelected(selection, session)) {
      if (order === "busiest") all.push(session);
      else chosen.add(order === "newest" ? session.id : -session.id, session);
    }
    visited += 1;
    if (visited % sessionsPerStep === 0) yield;
  }
  return order === "busiest" ? all : chosen.values;
}

/** What was counted of each session, and when: one time for each step. */
interface Look {
  readonly received: Float64Array;
  readonly sent: Float64Array;
  readonly times: ReadonlyArray<number>;
}

function* look(sessions: ReadonlyArray<Session>, { now, wire }: Sources): Generator<void, Look> {
  const received = new Float64Array(sessions.length);
  const sent = new Float64Array(sessions.length);
  const times: Array<number> = [];
  for (const [i, { bytes, client }] of sessions.entries()) {
    if (i % sessionsPerStep === 0) {
      if (i > 0) yield;
      times.push(now());
    }
    wire.bringUpToDate?.(client);
    received[i] = bytes.received;
    sent[i] = bytes.sent;
  }
  return { received, sent, times };
}

/** By how much something has grown between two looks at one session, per second. */
const perSecond = (i: number, of: "received" | "sent", before: Look, after: Look): number => {
  const step = Math.floor(i / sessionsPerStep);
  const millis = (after.times[step] ?? 0) - (before.times[step] ?? 0);
  return millis <= 0 ? 0 : (1_000 * ((after[of][i] ?? 0) - (before[of][i] ?? 0))) / millis;
};

function* sampled(
  sessions: ReadonlyArray<Session>,
  before: Look,
  after: Look,
  { limit, order }: Selection,
  { now, open, view, wire }: Sources,
): Generator<void, ReadonlyArray<SampledSession>> {
  // The place of one that has ended meanwhile, and its counts, may be another's.
  const isOpen = (session: Session): boolean => open.fiberOf(session) !== undefined;
  const chosen = new Largest<number>(limit);
  for (const [i, session] of sessions.entries()) {
    const rate =
      order === "busiest" ? perSecond(i, "received", before, after) + perSecond(i, "sent", before, after) : 0;
    if (isOpen(session)) chosen.add(rate, i);
    if (i % sessionsPerStep === sessionsPerStep - 1) yield;
  }
  const samples: Array<SampledSession> = [];
  for (const i of chosen.values) {
    const session = sessions[i];
    if (session === undefined || !isOpen(session)) continue;
    samples.push({
      ...view(session, now()),
      receivedPerSecond: perSecond(i, "received", before, after),
      sentPerSecond: perSecond(i, "sent", before, after),
      idleMillis: wire.idleMillis?.(session.client),
    });
    if (samples.length % askedPerStep === 0) yield;
  }
  return samples;
}

/** What is selected of the open sessions of one listener, in no order. */
export const sample = (
  selection: Selection,
  sources: Sources,
): Effect.Effect<ReadonlyArray<SampledSession>> =>
  Effect.gen(function* () {
    const sessions = yield* TimeSlices.run(candidatesOf(sources.open, selection));
    const before = yield* TimeSlices.run(look(sessions, sources));
    yield* Effect.sleep(interval);
    const after = yield* TimeSlices.run(look(sessions, sources));
    return yield* TimeSlices.run(sampled(sessions, before, after, selection, sources));
  });
