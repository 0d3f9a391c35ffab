/**
 * The open sessions of every listener of a balancer, what they carry, and the records of those that have ended.
 * Listeners register here; monitoring and the program read it.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { Sessions } from "zeitwork-load-balancer"
 *
 * const open = Effect.flatMap(Sessions.Sessions, ({ snapshot }) => snapshot).pipe(
 *   Effect.map((snapshot) => snapshot.open),
 * )
 * ```
 */
import { Clock, Context, Effect, Layer, Mailbox, type Scope, Stream, SubscriptionRef } from "effect";
import type { Backend } from "../backend/Backend.js";
import * as TimeSlices from "../clock/TimeSlices.js";
import type { Bytes } from "../metrics/Recorder.js";
import type { SocketAddress } from "../net/SocketAddress.js";
import type { ConnectionRecord, Phase } from "./ConnectionRecord.js";

/**
 * A session that is open now.
 *
 * @since 0.2.0
 * @category models
 */
export interface OpenSession {
  /**
   * Grows by one with each session of this process. The first is the number of milliseconds since the epoch times 1,024: no
   * id of an earlier process is used again, unless that took more than a million connections a second, or somebody has set
   * the clock back.
   */
  readonly id: number;
  readonly client: SocketAddress;
  /** Undefined before the first choice. */
  readonly backend: Backend | undefined;
  /** Milliseconds since it was accepted. */
  readonly ageMillis: number;
  /** Bytes from the client. */
  readonly received: number;
  /** Bytes to the client. */
  readonly sent: number;
  readonly phase: Phase;
}

/**
 * Which of the open sessions are asked for.
 *
 * @since 0.2.0
 * @category models
 */
export interface Selection {
  /** Those that have been open for the longest time, that carry the most bytes now, or that came last: these first. */
  readonly order: "longest" | "busiest" | "newest";
  /** No more than so many. */
  readonly limit: number;
  /** Those of one backend alone, by its id or its name. */
  readonly backend?: string | undefined;
  /** Those of clients alone whose IP address is one of these. */
  readonly client?: ((host: string) => boolean) | undefined;
}

/**
 * A session that was looked at twice, a second apart.
 *
 * @since 0.2.0
 * @category models
 */
export interface SampledSession extends OpenSession {
  /** Bytes from the client, per second between the two looks. */
  readonly receivedPerSecond: number;
  /** The same of bytes to the client. */
  readonly sentPerSecond: number;
  /** Milliseconds since bytes last came from either side; undefined where the transport cannot tell. */
  readonly idleMillis: number | undefined;
}

/**
 * What a listener does.
 *
 * @since 0.2.0
 * @category models
 */
export type ListenerPhase =
  /** It waits for the end of the first discovery. */
  | "waiting"
  /** It takes clients. */
  | "listening"
  /** It takes clients still, and is about to drain: they should be sent elsewhere. */
  | "stopping"
  /** It takes no clients, and lets open connections end. */
  | "draining";

/**
 * The open sessions at one moment, added up.
 *
 * @since 0.2.0
 * @category models
 */
export interface Snapshot {
  /** Sessions that are open, those that are still looking for a backend included. */
  readonly open: number;
  /** As {@link Sessions.phase}. */
  readonly phase: ListenerPhase | undefined;
  /** Bytes that the open sessions have carried so far. */
  readonly bytes: Bytes;
  /** The same by the key of the backend that a session has; backends without open sessions are not in it. */
  readonly byBackend: ReadonlyMap<string, Bytes>;
}

/**
 * The sessions of one listener, as they register here.
 *
 * @since 0.2.0
 * @category models
 */
export interface Group {
  readonly size: number;
  readonly phase: ListenerPhase;
  /** Calls with each open session. */
  readonly forEach: (
    visit: (session: { readonly backend: Backend | undefined; readonly bytes: Bytes }) => void,
  ) => void;
  /** The open sessions, in no order. May be left and gone on with while sessions come and go. */
  readonly list: () => Iterable<OpenSession>;
  /** As {@link Sessions.sample}, of this listener alone, and in no order. */
  readonly sample: (selection: Selection) => Effect.Effect<ReadonlyArray<SampledSession>>;
  /** As {@link Sessions.cut}, of this listener alone. */
  readonly cut: (id: number) => Effect.Effect<OpenSession | undefined>;
}

/**
 * What a listener says of its sessions.
 *
 * @since 0.2.0
 * @category models
 */
export interface Registration {
  /** The id of the next session. */
  readonly unsafeNextId: () => number;
  /** A session is over. Called on its path. */
  readonly unsafePublish: (record: ConnectionRecord) => void;
  /** As {@link Sessions.list}, of this listener alone. */
  readonly list: Effect.Effect<ReadonlyArray<OpenSession>>;
  /** As {@link Sessions.ended}, of this listener alone. */
  readonly ended: Stream.Stream<ConnectionRecord>;
  /** The group's phase has changed. */
  readonly phaseChanged: Effect.Effect<void>;
}

/** Records that a reader of {@link Sessions.ended} may be behind; the oldest are dropped beyond that. */
const maxBehind = 1024;

/**
 * @since 0.2.0
 * @category tags
 */
export class Sessions extends Context.Tag("zeitwork-load-balancer/Sessions")<
  Sessions,
  {
    /** Sessions that are open now. */
    readonly open: Effect.Effect<number>;
    readonly snapshot: Effect.Effect<Snapshot>;
    /** Every open session, the oldest first. Gathered in slices: one that ends meanwhile may be missing. */
    readonly list: Effect.Effect<ReadonlyArray<OpenSession>>;
    /** Looks at open sessions twice, a second apart, in slices. One that ends meanwhile is left out. */
    readonly sample: (selection: Selection) => Effect.Effect<ReadonlyArray<SampledSession>>;
    /** Resets the session with this id. Answers what it was; undefined where none with this id is open. */
    readonly cut: (id: number) => Effect.Effect<OpenSession | undefined>;
    /**
     * What becomes of sessions from now on, as they end. A reader that is more than 1,024 records behind misses the
     * oldest.
     */
    readonly ended: Stream.Stream<ConnectionRecord>;
    /**
     * The phase of the listeners together: the first of `listening`, `waiting`, `stopping` and `draining` that one of
     * them is in; undefined before there is any.
     */
    readonly phase: Effect.Effect<ListenerPhase | undefined>;
    /** The same now, and whenever it changes. */
    readonly phases: Stream.Stream<ListenerPhase | undefined>;
    /** A listener's sessions are counted here until its scope closes. */
    readonly register: (group: Group) => Effect.Effect<Registration, never, Scope.Scope>;
  }
>() {}

const inOrder: ReadonlyArray<ListenerPhase> = ["listening", "waiting", "stopping", "draining"];

const phaseOf = (groups: ReadonlySet<Group>): ListenerPhase | undefined => {
  const phases = new Set([...groups].map(({ phase }) => phase));
  return inOrder.find((phase) => phases.has(phase));
};

/** So many ids are for one millisecond. In the year 2248 they are too large for a number to be exact. */
const idsPerMilli = 1_024;

/** Sessions in one step of a list. */
const sessionsPerStep = 200;

/** The open sessions up to this id: those that begin while the list is made are left out. */
function* listOf(groups: ReadonlySet<Group>, lastId: number): Generator<void, ReadonlyArray<OpenSession>> {
  const listed: Array<OpenSession> = [];
  let visited = 0;
  for (const group of groups) {
    for (const session of group.list()) {
      if (session.id <= lastId) listed.push(session);
      visited += 1;
      if (visited % sessionsPerStep === 0) yield;
    }
  }
  // Ids are given in the order of acceptance.
  return listed.sort((one, other) => one.id - other.id);
}

// A hundred thousand sessions are added up at once: with objects of their own for each, that would hold them up.
const snapshotOf = (groups: ReadonlySet<Group>): Snapshot => {
  const byBackend = new Map<string, { received: number; sent: number }>();
  const bytes = { received: 0, sent: 0 };
  let open = 0;
  for (const group of groups) {
    open += group.size;
    group.forEach((session) => {
      const { received, sent } = session.bytes;
      bytes.received += received;
      bytes.sent += sent;
      if (session.backend === undefined) return;
      const { key } = session.backend;
      let sum = byBackend.get(key);
      if (sum === undefined) {
        sum = { received: 0, sent: 0 };
        byBackend.set(key, sum);
      }
      sum.received += received;
      sum.sent += sent;
    });
  }
  return {
    open,
    phase: phaseOf(groups),
    bytes,
    byBackend,
  };
};

const orders: Readonly<Record<Selection["order"], (one: SampledSession, other: SampledSession) => number>> = {
  // Ids are given in the order of acceptance.
  longest: (one, other) => one.id - other.id,
  newest: (one, other) => other.id - one.id,
  busiest: (one, other) => rateOf(other) - rateOf(one) || one.id - other.id,
};

const rateOf = ({ receivedPerSecond, sentPerSecond }: SampledSession): number =>
  receivedPerSecond + sentPerSecond;

/** The first of these, in the order that was asked for. */
const first = (
  sessions: ReadonlyArray<SampledSession>,
  { limit, order }: Selection,
): ReadonlyArray<SampledSession> => [...sessions].sort(orders[order]).slice(0, limit);

/**
 * @since 0.2.0
 * @category constructors
 */
export const make: Effect.Effect<typeof Sessions.Service> = Effect.gen(function* () {
  const groups = new Set<Group>();
  /** Each with the group that it reads of; undefined is all of them. */
  const readers = new Map<Mailbox.Mailbox<ConnectionRecord>, Group | undefined>();
  let lastId = (yield* Clock.currentTimeMillis) * idsPerMilli;
  const phase = yield* SubscriptionRef.make<ListenerPhase | undefined>(undefined);

  const phaseChanged = Effect.suspend(() => SubscriptionRef.set(phase, phaseOf(groups)));
  const open = Effect.sync(() => {
    let count = 0;
    for (const { size } of groups) count += size;
    return count;
  });

  const ended = (group: Group | undefined): Stream.Stream<ConnectionRecord> =>
    Effect.acquireRelease(
      Effect.tap(Mailbox.make<ConnectionRecord>({ capacity: maxBehind, strategy: "sliding" }), (reader) =>
        Effect.sync(() => readers.set(reader, group)),
      ),
      (reader) =>
        Effect.zipRight(
          Effect.sync(() => readers.delete(reader)),
          reader.shutdown,
        ),
    ).pipe(
      Effect.map((reader) => Mailbox.toStream(reader)),
      Stream.unwrapScoped,
    );

  const list = (of: ReadonlySet<Group>) => Effect.suspend(() => TimeSlices.run(listOf(of, lastId)));

  const registration = (group: Group): Registration => ({
    unsafeNextId: () => {
      lastId += 1;
      return lastId;
    },
    unsafePublish: (record) => {
      for (const [reader, of] of readers) {
        if (of === undefined || of === group) reader.unsafeOffer(record);
      }
    },
    list: list(new Set([group])),
    ended: ended(group),
    phaseChanged,
  });

  return Sessions.of({
    open,
    snapshot: Effect.sync(() => snapshotOf(groups)),
    list: list(groups),
    sample: (selection) =>
      Effect.map(
        Effect.forEach(groups, (group) => group.sample(selection), { concurrency: "unbounded" }),
        (samples) => first(samples.flat(), selection),
      ),
    cut: (id) =>
      Effect.map(
        Effect.forEach(groups, (group) => group.cut(id)),
        (found) => found.find((session) => session !== undefined),
      ),
    ended: ended(undefined),
    phase: SubscriptionRef.get(phase),
    phases: Stream.changes(phase.changes),
    register: (group) =>
      Effect.acquireRelease(
        Effect.zipRight(
          Effect.sync(() => groups.add(group)),
          Effect.as(phaseChanged, registration(group)),
        ),
        () =>
          Effect.zipRight(
            Effect.sync(() => groups.delete(group)),
            phaseChanged,
          ),
      ),
  });
});

/**
 * The sessions of one balancer. `LoadBalancer.layer` and `Monitoring.layer` provide this very value, so that in one
 * program both have the same. A second balancer in the same program gets its own by `Layer.fresh` around its layers.
 *
 * @since 0.2.0
 * @category layers
 */
export const layer: Layer.Layer<Sessions> = Layer.effect(Sessions, make);
