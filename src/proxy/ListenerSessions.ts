/**
 * The sessions of one listener: which are open, cutting them, draining them, and the one exit through which each of
 * them ends.
 */
import { Cause, Deferred, Duration, Effect, FiberId, type Scope, type Stream } from "effect";
import * as TimeSlices from "../clock/TimeSlices.js";
import type { AccessLogMode } from "../config/Settings.js";
import * as LogThrottle from "../log/LogThrottle.js";
import type { Metrics } from "../metrics/Metrics.js";
import type { CidrSet } from "../net/CidrSet.js";
import { format, type SocketAddress } from "../net/SocketAddress.js";
import type { Connection } from "../transport/Transport.js";
import * as AccessLog from "./AccessLog.js";
import { type Admission, type Denial, denials, isDenial } from "./Admission.js";
import { ByteSlots } from "./ByteSlots.js";
import { type ConnectionRecord, codeOf, isClean } from "./ConnectionRecord.js";
import { DenialTally, type Summary } from "./DenialTally.js";
import { OpenSessions } from "./OpenSessions.js";
import { type Attempts, type CutReason, type Refusal, Session } from "./Session.js";
import { type Ending, SessionFibers } from "./SessionFibers.js";
import * as SessionSampler from "./SessionSampler.js";
import type { Group, ListenerPhase, OpenSession, Sessions } from "./Sessions.js";

export interface Options {
  readonly sessions: typeof Sessions.Service;
  readonly metrics: typeof Metrics.Service;
  readonly attempts: Attempts;
  /** What is asked of the transport. */
  readonly wire: SessionSampler.Wire;
  /** Undefined if there are neither lists nor limits of clients. */
  readonly admission: Admission | undefined;
  /** Peers whose connections begin with a PROXY header; undefined where there are none. */
  readonly introducedFrom: CidrSet | undefined;
  /** Writes a log line. It does not fail. */
  readonly log: (line: Effect.Effect<void>) => Effect.Effect<void>;
  /** Monotonic milliseconds. */
  readonly now: () => number;
  /** Milliseconds since the epoch. */
  readonly wallClock: () => number;
  readonly accessLog: AccessLogMode;
  readonly onEnded: ((record: ConnectionRecord) => void) | undefined;
}

export interface ListenerSessions {
  /** Sessions that are open now. */
  readonly open: Effect.Effect<number>;
  readonly phase: Effect.Effect<ListenerPhase>;
  readonly setPhase: (phase: ListenerPhase) => Effect.Effect<void>;
  /** Serves a client that was accepted, or turns it away. Returns the logging that is left to be done. */
  readonly unsafeServe: (client: Connection) => Effect.Effect<void> | undefined;
  /** Refuses a client that was accepted: it is reset, and has a record. Returns the same. */
  readonly unsafeRefuse: (client: Connection, by: Refusal, why: string) => Effect.Effect<void> | undefined;
  /** The open ones, the oldest first. */
  readonly list: Effect.Effect<ReadonlyArray<OpenSession>>;
  /** As `Sessions.ended`, of this listener. */
  readonly ended: Stream.Stream<ConnectionRecord>;
  /** Resets the sessions for which `reasonOf` returns a reason. It is called for each open one, in slices. */
  readonly cut: (reasonOf: (session: Session) => CutReason | undefined) => Effect.Effect<unknown>;
  /** Waits until no session is open. No more may be served by then. */
  readonly allEnded: Effect.Effect<void>;
  /** Resets every session, and waits until all have ended. Returns how many were reset in this way since the start. */
  readonly resetAll: Effect.Effect<number>;
}

type ExitStep = (
  session: Session,
  record: ConnectionRecord,
  ending: Ending,
) => Effect.Effect<void> | undefined | void;

const noLines: ReadonlyArray<Effect.Effect<void>> = [];

/** How many sessions are examined in one step, and how many are interrupted in one. */
const askedPerStep = 200;
const interruptedPerStep = 10;

/** The sessions to cut. Each has its reason in `cutBy`. */
function* chosenOf(
  open: OpenSessions,
  reasonOf: (session: Session) => CutReason | undefined,
): Generator<void, ReadonlyArray<Session>> {
  const chosen: Array<Session> = [];
  let asked = 0;
  for (const session of open) {
    const reason = reasonOf(session);
    if (reason !== undefined) {
      session.cutBy ??= reason;
      chosen.push(session);
    }
    asked += 1;
    if (asked % askedPerStep === 0) yield;
  }
  return chosen;
}

const logDefect = (cause: Cause.Cause<never>): Effect.Effect<void> =>
  Effect.logError("a session failed by a defect", cause);

/** The shortest time between two log lines about refused clients. */
const logInterval = Duration.seconds(5);

/** Its scope resets what is open when it closes. */
export const make = ({
  accessLog: accessLogMode,
  admission,
  attempts,
  introducedFrom,
  log,
  metrics,
  now,
  onEnded,
  sessions,
  wallClock,
  wire,
}: Options): Effect.Effect<ListenerSessions, never, Scope.Scope> =>
  Effect.gen(function* () {
    const open = new OpenSessions();
    const slots = new ByteSlots();
    const accessLine = AccessLog.make(accessLogMode);
    const refusedThrottle = LogThrottle.make(logInterval);
    const tally = new DenialTally(Duration.toMillis(logInterval));
    const { runtimeFlags } = yield* Effect.runtime();
    let phase: ListenerPhase = "waiting";
    /** Sessions that were reset because the drain was over. */
    let resets = 0;
    /** Completed when the last session ends; undefined while nothing waits for that. */
    let lastEnded: Deferred.Deferred<void> | undefined;

    const refusedLine = (client: SocketAddress, why: string): Effect.Effect<void> =>
      refusedThrottle(
        Effect.suspend(() =>
          Effect.annotateLogs(Effect.logWarning("connection refused"), {
            client: format(client),
            why,
            "refused in all": metrics.refusals,
          }),
        ),
      );

    const turnedAwayLine = (summary: Summary | undefined): Effect.Effect<void> | undefined =>
      summary === undefined
        ? undefined
        : Effect.annotateLogs(Effect.logWarning("clients turned away"), {
            count: summary.count,
            "most from": summary.mostFrom,
            "of these": summary.ofThese,
            "why the last": summary.why,
            "refused in all": metrics.refusals,
          });
    if (admission !== undefined) {
      // Logs what was counted since the last line, if no further client triggers that.
      yield* Effect.suspend(() => turnedAwayLine(tally.rest(now())) ?? Effect.void).pipe(
        log,
        Effect.delay(logInterval),
        Effect.forever,
        Effect.forkScoped,
      );
    }

    const recordOf = (session: Session, ending: Ending): ConnectionRecord => {
      const { address, backend, backendConnections, bytes, connectMillis, id, queueMillis, retries } =
        session;
      const millis = now() - session.accepted;
      return {
        id,
        client: address,
        backend,
        backendConnections,
        acceptedAt: wallClock() - millis,
        queueMillis,
        connectMillis,
        millis,
        received: bytes.received,
        sent: bytes.sent,
        retries,
        by: ending.by,
        phase: session.phase(phase === "draining"),
      };
    };

    const view = (session: Session, at: number): OpenSession => ({
      id: session.id,
      client: session.address,
      backend: session.backend,
      ageMillis: at - session.accepted,
      received: session.bytes.received,
      sent: session.bytes.sent,
      phase: session.phase(phase === "draining"),
    });

    const group: Group = {
      get size() {
        return open.size;
      },
      get phase() {
        return phase;
      },
      forEach: (visit) => {
        for (const { assigned, backend, bytes } of open) {
          visit({ backend: assigned ? backend : undefined, bytes });
        }
      },
      list: function* () {
        const at = now();
        for (const session of open) yield view(session, at);
      },
      sample: (selection) => SessionSampler.sample(selection, { open, view, now, wire }),
      cut: (id) =>
        Effect.suspend(() => {
          let found: OpenSession | undefined;
          const isIt = (session: Session): CutReason | undefined => {
            if (session.id !== id) return undefined;
            wire.bringUpToDate?.(session.client);
            found = view(session, now());
            return "cut";
          };
          return Effect.map(cut(isIt), () => found);
        }),
    };
    const registration = yield* sessions.register(group);

    /**
     * What is done at the end of a session, in this order. Each step may return a log line. One that throws is logged,
     * and the steps after it are done all the same.
     */
    const exitSteps: Array<ExitStep> = [
      // A client must not take this for an orderly end. After a relay that ended by itself, it does nothing.
      (session, record) => {
        if (!isClean(record)) session.client.reset();
      },
      ({ assigned }, { backend, received, sent }) => {
        if (assigned && backend !== undefined) metrics.backend(backend).carried(received, sent);
      },
      (_session, record) => metrics.ended(codeOf(record), record.millis, record.received, record.sent),
      (_session, record) => registration.unsafePublish(record),
      ({ address }, _record, ending) => {
        if (ending._tag === "Refuse") {
          metrics.refused(ending.by);
          return isDenial(ending.by)
            ? turnedAwayLine(tally.add(address.host, ending.why, now()))
            : refusedLine(address, ending.why);
        }
        return ending.defect === undefined ? undefined : logDefect(ending.defect);
      },
      (_session, record) => {
        onEnded?.(record);
      },
      (_session, record) => accessLine(record),
    ];
    if (admission !== undefined) {
      exitSteps.push((session) => {
        if (session.admitted) admission.leave(session.address.host);
      });
    }

    const begin = (client: Connection): Session => {
      metrics.opened();
      return new Session(registration.unsafeNextId(), client, now(), slots.acquire(), attempts);
    };

    /** The one exit: every session leaves through it, once. */
    const end = (session: Session, ending: Ending): Effect.Effect<void> | undefined => {
      const record = recordOf(session, ending);
      let lines = noLines;
      for (let next = 0; next < exitSteps.length; ) {
        // One guard for all of them: entering one costs each session.
        try {
          while (next < exitSteps.length) {
            const line = exitSteps[next++]?.(session, record, ending);
            if (line !== undefined) lines = [...lines, line];
          }
        } catch (defect) {
          lines = [...lines, logDefect(Cause.die(defect))];
        }
      }
      if (record.by === "drain-timeout") resets += 1;
      open.delete(session);
      slots.release(session.bytes);
      if (open.size === 0 && lastEnded !== undefined) Deferred.unsafeDone(lastEnded, Effect.void);
      const released = attempts.release(session);
      if (lines.length === 0) return released;
      const logged = Effect.forEach(lines, log, { discard: true });
      return released === undefined ? logged : Effect.ensuring(released, logged);
    };

    const serve = (client: Connection, awaitsHeader = false): undefined => {
      const session = begin(client);
      const fiber = fibers.acquire();
      session.awaitsHeader = awaitsHeader;
      session.admitted = admission !== undefined && !awaitsHeader;
      open.add(session, fiber);
      fiber.serve(session);
    };

    const refuse: ListenerSessions["unsafeRefuse"] = (client, by, why) =>
      end(begin(client), { _tag: "Refuse", by, why });

    const denialOf = (host: string, awaitsHeader: boolean): Denial | undefined => {
      if (!awaitsHeader) return admission?.admit(host, now());
      // The client that it names has to pass the rest.
      return admission?.denies(host) === true ? "denied" : undefined;
    };

    const receive: ListenerSessions["unsafeServe"] = (client) => {
      const { host } = client.remote;
      const awaitsHeader = introducedFrom?.has(host) === true;
      const denial = denialOf(host, awaitsHeader);
      return denial === undefined ? serve(client, awaitsHeader) : refuse(client, denial, denials[denial]);
    };

    const fibers = new SessionFibers(
      { attempt: attempts.attempt, end, logDefect: (cause) => log(logDefect(cause)) },
      runtimeFlags,
    );

    const interrupt = (chosen: ReadonlyArray<Session>) =>
      Effect.forEach(chosen, (session) => open.fiberOf(session)?.interrupt(session) ?? Effect.void, {
        discard: true,
      });

    const cut: ListenerSessions["cut"] = (reasonOf) =>
      Effect.flatMap(
        Effect.suspend(() => TimeSlices.run(chosenOf(open, reasonOf))),
        (chosen) => TimeSlices.map(chosen, interruptedPerStep, interrupt),
      );

    const allEnded = Effect.suspend(() => {
      if (open.size === 0) return Effect.void;
      lastEnded ??= Deferred.unsafeMake(FiberId.none);
      return Deferred.await(lastEnded);
    });

    const resetAll = Effect.suspend(() => interrupt([...open])).pipe(
      Effect.zipRight(allEnded),
      Effect.map(() => resets),
    );
    yield* Effect.addFinalizer(() =>
      Effect.zipRight(
        resetAll,
        Effect.sync(() => fibers.close()),
      ),
    );

    return {
      open: Effect.sync(() => open.size),
      list: registration.list,
      ended: registration.ended,
      phase: Effect.sync(() => phase),
      setPhase: (next) =>
        Effect.suspend(() => {
          phase = next;
          return registration.phaseChanged;
        }),
      unsafeServe:
        admission === undefined && introducedFrom === undefined ? (client) => serve(client) : receive,
      unsafeRefuse: refuse,
      cut,
      allEnded,
      resetAll,
    };
  });
