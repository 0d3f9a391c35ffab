/**
 * A session: one client's connection as policy sees it. An attempt chooses a backend, connects to it and relays; what
 * follows from its result is a value, a {@link Decision}, which the session's fiber acts upon in one place.
 *
 * This is the connection path: a client that is served costs one choice, one wait and one release.
 */
import { Cause, Duration, Effect, Option } from "effect";
import { type Backend, describe } from "../backend/Backend.js";
import type { BackendRegistry } from "../backend/BackendRegistry.js";
import * as Pool from "../backend/Pool.js";
import * as LogThrottle from "../log/LogThrottle.js";
import type { Metrics } from "../metrics/Metrics.js";
import * as ProxyHeader from "../net/ProxyHeader.js";
import { format, type SocketAddress } from "../net/SocketAddress.js";
import {
  type ConnectError,
  type Connection,
  type ForwardOptions,
  isLocal,
  type RelayEnd,
  type RelayOutcome,
  type Transport,
} from "../transport/Transport.js";
import { type Denial, denials } from "./Admission.js";
import type { ByteSlot } from "./ByteSlots.js";
import type { EndedBy, Phase } from "./ConnectionRecord.js";
import * as PlaceWait from "./PlaceWait.js";

const none: ReadonlyArray<Backend> = [];

/**
 * The state of one session. Its fiber is the only one that changes it, but for {@link cutBy}.
 *
 * It is what the transport is given to forward with, in place of an object that is made for each connection. An object
 * literal whose objects live as long as connections do is soon allocated in V8's old generation, where they keep all
 * that they refer to from being freed by a minor collection: that cost 2 to 4 µs a connection.
 */
export class Session implements ForwardOptions {
  /** Backends that could not be connected to. */
  failed = none;
  /** The last backend that it was assigned to. */
  backend: Backend | undefined = undefined;
  /** Connections that the backend had when this one was assigned to it, itself included. */
  backendConnections = 0;
  /** The backend counts this session, and the slot's bytes belong to it. */
  assigned = false;
  /** Backends that were tried before that one. */
  retries = 0;
  /** When the last attempt to connect began, in monotonic milliseconds. */
  began = 0;
  /** What connecting to the backend took; undefined until the connection is made. */
  connectMillis: number | undefined = undefined;
  /** It has waited for the first probes once. */
  waited = false;
  /** It waits for a place at a backend. */
  queued = false;
  /** For how long it has waited so, in milliseconds; undefined where it has not. */
  queueMillis: number | undefined = undefined;
  /** It counts towards the limits of its client. */
  admitted = false;
  /** A PROXY header has to come first. */
  awaitsHeader = false;
  /** The client: the peer, until a PROXY header names another. */
  address: SocketAddress;
  /** What such a header says that the client connected to. */
  destination: SocketAddress | undefined = undefined;
  /** What backends are sent first. */
  preface: Uint8Array | undefined = undefined;
  /** Why it is interrupted before its time; undefined when it is for the end of a drain. */
  cutBy: CutReason | undefined = undefined;

  constructor(
    readonly id: number,
    readonly client: Connection,
    /** When it was accepted, in monotonic milliseconds. */
    readonly accepted: number,
    readonly bytes: ByteSlot,
    readonly attempts: Pick<Attempts, "connectTimeoutMillis" | "connected">,
  ) {
    this.address = client.remote;
  }

  readonly connected = (millis?: number): void => this.attempts.connected(this, millis);

  get timeoutMillis(): number {
    return this.attempts.connectTimeoutMillis;
  }

  phase(draining: boolean): Phase {
    if (this.queued) return "queued";
    if (this.backend === undefined) return "choosing";
    if (this.connectMillis === undefined) return "connecting";
    return draining ? "draining" : "relaying";
  }
}

/** Why a session is ended before its time. */
export type CutReason = Extract<
  EndedBy,
  "cut" | "disabled" | "backend-down" | "max-age" | "idle-timeout" | "half-closed-timeout"
>;

/** Why a session is refused. */
export type Refusal =
  | "no-backend"
  | "backends-full"
  | "queue-full"
  | "queue-timeout"
  | "connect-failed"
  | "at-capacity"
  | "proxy-header"
  | Denial;

/** What follows from an attempt. */
export type Decision =
  /** Another backend is to be tried. */
  | { readonly _tag: "Retry" }
  /** No backend can take it; `why` is for the log. */
  | { readonly _tag: "Refuse"; readonly by: Refusal; readonly why: string }
  /** It is over. `defect` is there when a bug ended it. */
  | { readonly _tag: "Done"; readonly by: EndedBy; readonly defect?: Cause.Cause<never> };

const retry: Decision = { _tag: "Retry" };
const refuse = (by: Refusal, why: string): Decision => ({ _tag: "Refuse", by, why });

const done: Readonly<Record<RelayEnd, Decision>> = {
  "client-closed": { _tag: "Done", by: "client" },
  "backend-closed": { _tag: "Done", by: "backend" },
  "client-reset": { _tag: "Done", by: "client-reset" },
  "backend-reset": { _tag: "Done", by: "backend-reset" },
  "thread-lost": { _tag: "Done", by: "thread-lost" },
};

export interface Dependencies {
  readonly registry: typeof BackendRegistry.Service;
  readonly transport: typeof Transport.Service;
  readonly metrics: typeof Metrics.Service;
  /** Monotonic milliseconds. */
  readonly now: () => number;
  readonly connectTimeoutMillis: number;
  readonly connectRetries: number;
  /** The version of the PROXY header that names the client to backends; undefined where they are sent none. */
  readonly introduceBy: ProxyHeader.Version | undefined;
  /** Undefined where no session awaits a PROXY header. */
  readonly introductions: Introductions | undefined;
  /** The log level is debug: each choice is logged. */
  readonly debug: boolean;
  /** Gives an effect the logger, the clock and the rest that a session's fiber does without. */
  readonly withFullRuntime: <A>(effect: Effect.Effect<A>) => Effect.Effect<A>;
  /** Writes a log line so. It does not fail. */
  readonly log: (line: Effect.Effect<void>) => Effect.Effect<void>;
}

/** How sessions whose clients are named by a PROXY header begin. */
export interface Introductions {
  /** How long the header may take to arrive. */
  readonly timeoutMillis: number;
  /** Why the client that it names is turned away, or undefined; the field is undefined if there is no admission. */
  readonly admit: ((session: Session) => Denial | undefined) | undefined;
}

const headerOptions = { most: ProxyHeader.longestHeader, lengthOf: ProxyHeader.lengthOf };

/** The shortest time between two log lines about failed connects. */
const logInterval = Duration.seconds(5);

export interface Attempts {
  /** How long one attempt to connect may take. */
  readonly connectTimeoutMillis: number;
  /** The backend that the session is assigned to is connected. `millis` is how long that took; until now by default. */
  readonly connected: (session: Session, millis?: number) => void;
  /** Tries one backend. Does not fail but by a defect. */
  readonly attempt: (session: Session) => Effect.Effect<Decision>;
  /** Gives the backend back that a session is assigned to; undefined where there is none. */
  readonly release: (session: Session) => Effect.Effect<void> | undefined;
}

export const make = ({
  connectRetries,
  connectTimeoutMillis,
  debug,
  introduceBy,
  introductions,
  log,
  metrics,
  now,
  registry,
  transport,
  withFullRuntime,
}: Dependencies): Attempts => {
  const connectFailedThrottle = LogThrottle.make(logInterval);

  const annotations = (session: Session, backend: Backend) => ({
    client: format(session.address),
    backend: describe(backend),
  });

  const connected = (session: Session, millis = now() - session.began): void => {
    const { backend } = session;
    if (backend === undefined) return;
    session.connectMillis = millis;
    metrics.backend(backend).connected(millis);
    registry.connected(backend);
    const before = session.failed.at(-1);
    if (before !== undefined) metrics.backend(before).redispatched();
  };

  /** First of all: what is written here is given back at the session's exit, whatever fails from now on. */
  const take = (session: Session, { backend, connections }: Pool.Assignment): Backend => {
    session.backend = backend;
    session.backendConnections = connections;
    session.assigned = true;
    session.retries = session.failed.length;
    metrics.backend(backend).assigned(connections);
    return backend;
  };

  const forward = (session: Session, backend: Backend): Effect.Effect<RelayOutcome, ConnectError> => {
    if (introduceBy !== undefined) {
      session.preface ??= ProxyHeader.encode(
        introduceBy,
        session.address,
        session.destination ?? session.client.local,
      );
    }
    session.began = now();
    const forwarded = transport.forward(session.client, backend.address, session, session.bytes);
    return debug
      ? Effect.zipRight(
          log(Effect.logDebug("backend chosen").pipe(Effect.annotateLogs(annotations(session, backend)))),
          forwarded,
        )
      : forwarded;
  };

  const release = (session: Session): Effect.Effect<void> | undefined => {
    const { assigned, backend } = session;
    if (backend === undefined || !assigned) return undefined;
    session.assigned = false;
    return registry.release(backend);
  };

  // No backend is healthy, but some have not been probed yet: a moment after the start, or after all backends were
  // replaced, the answer is on its way.
  const firstProbes = Effect.timeoutOption(
    registry.until((pool) => Pool.healthy(pool) > 0 || pool.unchecked === 0),
    connectTimeoutMillis,
  );

  const queue = PlaceWait.make(registry, transport);

  /** All backends that it may have are full. */
  const waitForPlace = (session: Session): Effect.Effect<Decision> => {
    if (registry.queueLimit === 0)
      return Effect.succeed(refuse("backends-full", "all healthy backends are full"));
    const began = now();
    const before = session.queueMillis ?? 0;
    let assigned: Backend | undefined;
    session.queued = true;
    const wait = queue(session, (assignment) => {
      assigned = take(session, assignment);
      session.queued = false;
    });
    return Effect.matchCauseEffect(wait, {
      onSuccess: (result): Effect.Effect<Decision> => {
        if (result !== "queue-full") session.queueMillis = before + now() - began;
        if (assigned !== undefined) {
          session.queued = false;
          return relayed(session, forward(session, assigned));
        }
        switch (result) {
          case "client-reset":
            return Effect.succeed(done["client-reset"]);
          case "timeout":
            return Effect.succeed(refuse("queue-timeout", "no place at a backend came free in time"));
          case "queue-full":
            session.queued = false;
            return Effect.succeed(
              refuse("queue-full", "as many clients as may wait for a place at a backend"),
            );
          default:
            session.queued = false;
            return Effect.succeed(retry);
        }
      },
      onFailure: (cause) => {
        session.queueMillis = before + now() - began;
        return Effect.succeed(broken(session, cause));
      },
    });
  };

  const noBackend = (session: Session): Effect.Effect<Decision> =>
    Effect.flatMap(registry.pool, (pool): Effect.Effect<Decision> => {
      if (Pool.mayWait(pool, session.failed)) return waitForPlace(session);
      if (session.failed.length > 0) {
        return Effect.succeed(refuse("connect-failed", "no other healthy backend to try"));
      }
      if (session.waited || pool.unchecked === 0) {
        return Effect.succeed(refuse("no-backend", "no healthy backend"));
      }
      session.waited = true;
      return Effect.matchCause(withFullRuntime(Effect.interruptible(firstProbes)), {
        onSuccess: () => retry,
        onFailure: (cause) => broken(session, cause),
      });
    });

  const connectFailed = (session: Session, backend: Backend, error: ConnectError): Effect.Effect<Decision> =>
    Effect.gen(function* () {
      yield* release(session) ?? Effect.void;
      metrics.backend(backend).connectFailed(error.reason);
      // That this host is out of descriptors or ports says nothing about the backend.
      const { message, reason } = error;
      if (!isLocal(reason)) {
        yield* registry.observed(backend, {
          by: "client",
          began: session.began,
          failure: { reason, message },
        });
      }
      yield* log(
        connectFailedThrottle(
          Effect.logWarning("backend could not be connected to").pipe(
            Effect.annotateLogs({ ...annotations(session, backend), why: error.message }),
          ),
        ),
      );
      const tried = session.failed.length + 1;
      if (tried > connectRetries) {
        return refuse("connect-failed", `${tried} backends could not be connected to`);
      }
      session.failed = [...session.failed, backend];
      session.waited = true;
      return retry;
    });

  // Interrupted (it was cut, or the drain is over), or broken by a defect.
  const broken = (session: Session, cause: Cause.Cause<never>): Decision =>
    Cause.isInterruptedOnly(cause)
      ? { _tag: "Done", by: session.cutBy ?? "drain-timeout" }
      : { _tag: "Done", by: "defect", defect: cause };

  const failed = (session: Session, cause: Cause.Cause<ConnectError>): Effect.Effect<Decision> => {
    const error = Cause.failureOption(cause);
    const { backend } = session;
    return Option.isSome(error) && backend !== undefined
      ? withFullRuntime(connectFailed(session, backend, error.value))
      : Effect.succeed(
          broken(
            session,
            Cause.flatMap(cause, () => Cause.empty),
          ),
        );
  };

  const attempt = (session: Session): Effect.Effect<Decision> =>
    Effect.matchCauseEffect(
      Effect.flatMap(
        registry.assign(session.address, session.failed),
        (assignment): Effect.Effect<RelayOutcome | undefined, ConnectError> =>
          assignment === undefined ? Effect.succeed(undefined) : forward(session, take(session, assignment)),
      ),
      {
        onSuccess: (outcome) =>
          outcome === undefined ? noBackend(session) : Effect.succeed(done[outcome.end]),
        onFailure: (cause) => failed(session, cause),
      },
    );

  const relayed = (
    session: Session,
    relay: Effect.Effect<RelayOutcome, ConnectError>,
  ): Effect.Effect<Decision> =>
    Effect.matchCauseEffect(relay, {
      onSuccess: ({ end }) => Effect.succeed(done[end]),
      onFailure: (cause) => failed(session, cause),
    });

  /** A client whose header has come is one like others, and has to pass the lists and limits. */
  const introduced = (
    session: Session,
    bytes: Uint8Array,
    admit: Introductions["admit"],
  ): Effect.Effect<Decision> => {
    const header = ProxyHeader.parse(bytes);
    if ("wrong" in header) {
      return Effect.succeed(refuse("proxy-header", `its PROXY header is wrong: ${header.wrong}`));
    }
    if (header.addresses !== undefined) {
      session.address = header.addresses.source;
      session.destination = header.addresses.destination;
    }
    const denial = admit?.(session);
    return denial === undefined ? attempt(session) : Effect.succeed(refuse(denial, denials[denial]));
  };

  const introduce =
    ({ admit, timeoutMillis }: Introductions) =>
    (session: Session): Effect.Effect<Decision> => {
      if (!session.awaitsHeader) return attempt(session);
      session.awaitsHeader = false;
      return Effect.matchCauseEffect(transport.head(session.client, { ...headerOptions, timeoutMillis }), {
        onSuccess: (bytes) => introduced(session, bytes, admit),
        onFailure: (cause) => {
          const error = Cause.failureOption(cause);
          return Effect.succeed(
            Option.isSome(error)
              ? refuse("proxy-header", `no PROXY header: ${error.value.message}`)
              : broken(
                  session,
                  Cause.flatMap(cause, () => Cause.empty),
                ),
          );
        },
      });
    };

  return {
    connectTimeoutMillis,
    connected,
    attempt: introductions === undefined ? attempt : introduce(introductions),
    release,
  };
};
