/**
 * The sessions of one listener: who is open, cutting them, draining them, and the one exit through which each of them
 * leaves.
 */
import { Cause, Deferred, Duration, Effect, FiberId, FiberSet, type Scope } from "effect";
import type { Backend } from "../backend/Backend.js";
import type { AccessLogMode } from "../config/Settings.js";
import * as LogThrottle from "../log/LogThrottle.js";
import type { Metrics } from "../metrics/Metrics.js";
import { format } from "../net/SocketAddress.js";
import type { Connection } from "../transport/Transport.js";
import * as AccessLog from "./AccessLog.js";
import { ByteSlots } from "./ByteSlots.js";
import { type ConnectionRecord, codeOf, isClean } from "./ConnectionRecord.js";
import { type Decision, Session } from "./Session.js";
import { type Ending, type SessionFiber, SessionFibers } from "./SessionFibers.js";
import type { Group, ListenerPhase, Sessions } from "./Sessions.js";

export interface Options {
  readonly sessions: typeof Sessions.Service;
  readonly metrics: typeof Metrics.Service;
  readonly attempt: (session: Session) => Effect.Effect<Decision>;
  readonly withFullRuntime: <A>(effect: Effect.Effect<A>) => Effect.Effect<A>;
  /** Monotonic milliseconds. */
  readonly now: () => number;
  /** Milliseconds since the epoch. */
  readonly wallClock: () => number;
  readonly accessLog: AccessLogMode;
  readonly onEnded: ((record: ConnectionRecord) => void) | undefined;
}

export interface SessionGroup {
  /** Sessions that are open now. */
  readonly open: Effect.Effect<number>;
  readonly phase: Effect.Effect<ListenerPhase>;
  readonly setPhase: (phase: ListenerPhase) => Effect.Effect<void>;
  /** Serves a client that was accepted. */
  readonly unsafeServe: (client: Connection) => void;
  /** Resets the sessions that the backends for which this holds have. Answers how many there were. */
  readonly cut: (holds: (backend: Backend) => boolean) => Effect.Effect<number>;
  /** Waits until no session is open. No more may be served by then. */
  readonly allEnded: Effect.Effect<void>;
  /** Resets every session, and waits until all have ended. Answers how many there were. */
  readonly resetAll: Effect.Effect<number>;
}

/** At most one line about refused clients in so long. */
const logInterval = Duration.seconds(5);

/** Its scope resets what is open when it closes. */
export const make = ({
  accessLog: accessLogMode,
  attempt,
  metrics,
  now,
  onEnded,
  sessions,
  wallClock,
  withFullRuntime,
}: Options): Effect.Effect<SessionGroup, never, Scope.Scope> =>
  Effect.gen(function* () {
    const open = new Map<Session, SessionFiber>();
    const slots = new ByteSlots();
    const accessLine = AccessLog.make(accessLogMode);
    const refusedThrottle = LogThrottle.make(logInterval);
    const run = yield* FiberSet.makeRuntime<never, void>();
    const { runtimeFlags } = yield* Effect.runtime();
    let phase: ListenerPhase = "waiting";
    /** Of those who wait for the last session to end; undefined while nobody does. */
    let lastEnded: Deferred.Deferred<void> | undefined;

    const refusedLine = (session: Session, why: string) =>
      refusedThrottle(
        Effect.suspend(() =>
          Effect.logWarning("connection refused").pipe(
            Effect.annotateLogs({
              client: format(session.client.remote),
              why,
              "refused in all": metrics.refusals,
            }),
          ),
        ),
      );

    const recordOf = (session: Session, ending: Ending): ConnectionRecord => {
      const { backend, bytes, client, connectMillis, retries } = session;
      const millis = now() - session.accepted;
      return {
        client: client.remote,
        backend,
        backendConnections: backend?.connections ?? 0,
        acceptedAt: wallClock() - millis,
        connectMillis,
        millis,
        received: bytes.received,
        sent: bytes.sent,
        retries,
        by: ending.by,
        phase: session.phase(phase === "draining"),
      };
    };

    /** Calls what a user of the library brought. What it throws is logged, and changes nothing. */
    const onEndedLine = (record: ConnectionRecord): Effect.Effect<void> | undefined => {
      try {
        onEnded?.(record);
        return undefined;
      } catch (defect) {
        return Effect.logError("onEnded failed by a defect", Cause.die(defect));
      }
    };

    /** The one exit: it resets what did not end in order, accounts, and answers what is to be logged. */
    const end = (session: Session, ending: Ending): Effect.Effect<void> | undefined => {
      const record = recordOf(session, ending);
      // A client must not take this for an orderly end. After a relay that ended by itself, it does nothing.
      if (!isClean(record)) session.client.reset();
      open.delete(session);
      slots.release(session.bytes);
      if (open.size === 0 && lastEnded !== undefined) Deferred.unsafeDone(lastEnded, Effect.void);
      metrics.ended(codeOf(record), record.millis, record.received, record.sent);
      sessions.unsafePublish(record);
      const lines: Array<Effect.Effect<void>> = [];
      if (ending._tag === "Refuse") {
        metrics.refused(ending.by);
        lines.push(refusedLine(session, ending.why));
      } else if (ending.defect !== undefined) {
        lines.push(Effect.logError("a session failed by a defect", ending.defect));
      }
      const failure = onEndedLine(record);
      if (failure !== undefined) lines.push(failure);
      const line = accessLine(record);
      if (line !== undefined) lines.push(line);
      return lines.length === 0 ? undefined : withFullRuntime(Effect.all(lines, { discard: true }));
    };

    const fibers = new SessionFibers({ attempt, end, run }, runtimeFlags);

    const interrupt = (chosen: ReadonlyArray<SessionFiber>) =>
      Effect.as(
        Effect.forEach(chosen, (fiber) => fiber.interrupt, { discard: true }),
        chosen.length,
      );

    const allEnded = Effect.suspend(() => {
      if (open.size === 0) return Effect.void;
      lastEnded ??= Deferred.unsafeMake(FiberId.none);
      return Deferred.await(lastEnded);
    });

    const group: Group = {
      get size() {
        return open.size;
      },
      get phase() {
        return phase;
      },
      forEach: (visit) => {
        for (const { assigned, backend, bytes } of open.keys()) {
          visit({ backend: assigned ? backend : undefined, bytes });
        }
      },
      list: () => {
        const at = now();
        return [...open.keys()].map((session) => ({
          id: session.id,
          client: session.client.remote,
          backend: session.backend,
          ageMillis: at - session.accepted,
          received: session.bytes.received,
          sent: session.bytes.sent,
          phase: session.phase(phase === "draining"),
        }));
      },
    };

    yield* sessions.register(group);
    const resetAll = Effect.zipLeft(
      Effect.suspend(() => interrupt([...open.values()])),
      allEnded,
    );
    yield* Effect.addFinalizer(() =>
      Effect.zipRight(
        resetAll,
        Effect.sync(() => fibers.stopIdle()),
      ),
    );

    return {
      open: Effect.sync(() => open.size),
      phase: Effect.sync(() => phase),
      setPhase: (next) =>
        Effect.suspend(() => {
          phase = next;
          return sessions.phaseChanged;
        }),
      unsafeServe: (client) => {
        metrics.opened();
        const session = new Session(sessions.unsafeNextId(), client, now(), slots.acquire());
        const fiber = fibers.acquire();
        open.set(session, fiber);
        fiber.serve(session);
      },
      cut: (holds) =>
        Effect.suspend(() => {
          const chosen = [...open].filter(
            ([{ assigned, backend }]) => assigned && backend !== undefined && holds(backend),
          );
          for (const [session] of chosen) session.cut = true;
          return interrupt(chosen.map(([, fiber]) => fiber));
        }),
      allEnded,
      resetAll,
    };
  });
