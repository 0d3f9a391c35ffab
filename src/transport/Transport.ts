/**
 * Transport is mechanism: it listens, connects, and relays bytes between two sockets. It knows no backend, no
 * algorithm and no metric. Fibers above it cannot tell one implementation from another.
 */
import { Context, Data, Effect, type Scope } from "effect";
import type { ListenError } from "../net/ListenError.js";
import type { Meter } from "../net/Meter.js";
import { format, type SocketAddress } from "../net/SocketAddress.js";

/** One end of a TCP connection. Whoever has it ends it: by {@link Transport.relay}, `close` or `reset`. */
export interface Connection {
  /** The peer. A client that came over IPv4 has its IPv4 address, on a listener for both families too. */
  readonly remote: SocketAddress;
  /** Ends it in order (FIN). Does nothing when it has ended. */
  readonly close: () => void;
  /** Ends it at once (RST), so that the peer cannot mistake it for an orderly end. Does nothing when it has ended. */
  readonly reset: () => void;
}

export interface ListenOptions {
  /** An IP address; undefined is every address, IPv6 and IPv4 (IPv4 alone on a host without IPv6). */
  readonly host: string | undefined;
  /** 0 is any free port. */
  readonly port: number;
  /** Connections the kernel holds until they are accepted; it caps this at net.core.somaxconn. */
  readonly backlog: number;
  /**
   * SO_REUSEPORT: other processes of the same user that ask for it too may listen on the same address, and the
   * kernel shares the connections out among them. False by default. Only the Linux transport can; others take no
   * notice.
   */
  readonly reusePort?: boolean;
  /**
   * The descriptor of a TCP socket that is bound, such as systemd passes: it is used, and closed, in place of one for
   * `host` and `port`. Whoever passed it has a copy, so that it goes on queueing clients when this one is closed.
   */
  readonly inherited?: number | undefined;
  /** Called for each accepted connection, in the order of acceptance. Must not throw. */
  readonly onConnection: (connection: Connection) => void;
  /** Called when accepting failed. The listener goes on by itself, after a pause. Must not throw. */
  readonly onAcceptError: (error: AcceptError) => void;
}

export interface Listener {
  /** Where it listens: the port in use where port 0 was asked for, the address in use where none was named. */
  readonly address: SocketAddress;
  /** Stops listening. Accepted connections live on. Also done when the scope closes. */
  readonly close: Effect.Effect<void>;
}

/** How a relay ended: in order, or by a side that broke off. */
export type RelayEnd =
  /** Both sides sent their FIN, the client first, and all bytes were delivered. */
  | "client-closed"
  /** Both sides sent their FIN, the backend first, and all bytes were delivered. */
  | "backend-closed"
  /** The client broke off (RST, or its connection died). */
  | "client-reset"
  /** The backend broke off. */
  | "backend-reset";

export interface RelayOutcome {
  readonly end: RelayEnd;
  /** Bytes read from the client. */
  readonly received: number;
  /** Bytes read from the backend. */
  readonly sent: number;
}

/** Why a backend could not be connected to. */
export type ConnectFailure =
  /** The host answered, and nothing listens there (ECONNREFUSED). */
  | "refused"
  /** No answer before the deadline. */
  | "timeout"
  /** No way there (EHOSTUNREACH, ENETUNREACH and their like). */
  | "unreachable"
  /** The connection was broken off while it was made (ECONNRESET). */
  | "reset"
  /** Not the backend's fault: this process or host is out of descriptors, ports or memory. */
  | "exhausted"
  /** Anything else; the message has the system's own word for it. */
  | "other";

export class ConnectError extends Data.TaggedError("ConnectError")<{
  readonly reason: ConnectFailure;
  readonly address: SocketAddress;
  /** The system's word for it (ECONNREFUSED), where there is one. */
  readonly code: string | undefined;
}> {
  override get message(): string {
    return `${format(this.address)} ${explain[this.reason]}${this.code === undefined ? "" : ` (${this.code})`}`;
  }
}

/** The reason that a system error code stands for when it comes from connecting. */
export const connectFailureOf = (code: string | undefined): ConnectFailure => {
  switch (code) {
    case "ECONNREFUSED":
      return "refused";
    case "ETIMEDOUT":
      return "timeout";
    case "EHOSTUNREACH":
    case "EHOSTDOWN":
    case "ENETUNREACH":
    case "ENETDOWN":
    case "ENONET":
      return "unreachable";
    case "ECONNRESET":
    case "ECONNABORTED":
    case "EPIPE":
      return "reset";
    case "EMFILE":
    case "ENFILE":
    case "ENOBUFS":
    case "ENOMEM":
    case "ENOSPC":
    case "EAGAIN":
    case "EADDRNOTAVAIL":
    case "EADDRINUSE":
      return "exhausted";
    default:
      return "other";
  }
};

const explain: Record<ConnectFailure, string> = {
  refused: "refused the connection",
  timeout: "did not answer in time",
  unreachable: "cannot be reached",
  reset: "reset the connection while it was made",
  exhausted: "could not be tried: this host is out of descriptors, ports or memory",
  other: "could not be connected to",
};

export class AcceptError extends Data.TaggedError("AcceptError")<{
  /** The system's word for it: EMFILE, ENFILE, ENOBUFS, ... */
  readonly code: string;
}> {
  override get message(): string {
    return `a connection could not be accepted (${this.code})`;
  }
}

/**
 * An effect that waits for what `start` begins; `start` answers how to give up. Waiting can be interrupted in an
 * uninterruptible region too. Whatever keeps the result from the fiber, an interruption in the very moment in which
 * it came included, is followed by giving up; only the errors that `start` tells are not.
 */
export const waiting = <A, E = never>(
  start: (resume: (result: Effect.Effect<A, E>) => void) => () => void,
): Effect.Effect<A, E> =>
  Effect.uninterruptibleMask(() => {
    let giveUp: (() => void) | undefined;
    // Not by async's own finalizer, which costs a connection more than all that it waits for.
    return Effect.catchAllCause(
      Effect.interruptible(
        Effect.async<A, E>((resume) => {
          giveUp = start(resume);
        }),
      ),
      (cause) => {
        if (cause._tag !== "Fail") giveUp?.();
        return Effect.failCause(cause);
      },
    );
  });

/**
 * What an implementation brings. Connecting and relaying are plain calls that answer how to give up, and what they
 * are told with is called at most once: neither after giving up, nor after the other of a pair.
 */
export interface Mechanism {
  readonly name: string;
  readonly faults: () => number;
  readonly listen: (options: ListenOptions) => Effect.Effect<Listener, ListenError, Scope.Scope>;
  /**
   * `made` never before this has returned. Giving up leaves nothing behind, unless the connection was made: that
   * belongs to whoever was told.
   */
  readonly connect: (
    address: SocketAddress,
    timeoutMillis: number,
    made: (connection: Connection) => void,
    failed: (error: ConnectError) => void,
  ) => () => void;
  /** Giving up resets both. */
  readonly relay: (
    client: Connection,
    backend: Connection,
    meter: Meter,
    ended: (outcome: RelayOutcome) => void,
  ) => () => void;
}

export class Transport extends Context.Tag("zeitwork-load-balancer/Transport")<
  Transport,
  {
    /** The implementation's name, for logs. */
    readonly name: string;
    /**
     * Exceptions of its own that it has caught since it began: each reset a connection, was logged, and is a bug. An
     * implementation that catches none has none.
     */
    readonly faults: () => number;
    /** Listens until the scope closes. */
    readonly listen: (options: ListenOptions) => Effect.Effect<Listener, ListenError, Scope.Scope>;
    /**
     * Connects within a time limit in milliseconds. It can be interrupted in an uninterruptible region too, and
     * leaves nothing behind then: call it in one, or a connection that is made in the very moment of an
     * interruption is nobody's.
     * The limit is the transport's, because a timer per fiber costs more than all the rest of a connection.
     */
    readonly connect: (
      address: SocketAddress,
      timeoutMillis: number,
    ) => Effect.Effect<Connection, ConnectError>;
    /**
     * Moves bytes both ways until both directions have ended, and ends both connections. Half-close is kept: a
     * FIN of one side is passed on once all before it was delivered, and the other direction goes on. A reset of
     * one side becomes a reset of the other. A slow reader slows its sender: buffers are bounded.
     * Interruption resets both, and works in an uninterruptible region too; one that comes before it has begun
     * leaves both to the caller. The meter counts bytes as they are read.
     */
    readonly relay: (client: Connection, backend: Connection, meter: Meter) => Effect.Effect<RelayOutcome>;
    /**
     * Connects to a backend and relays between it and a client: {@link connect} and {@link relay} in one wait, since
     * a fiber that is woken in between costs more than a connection needs. `connected` is called in between.
     * When connecting failed, or was interrupted, the client is the caller's as before.
     */
    readonly forward: (
      client: Connection,
      address: SocketAddress,
      timeoutMillis: number,
      meter: Meter,
      connected: () => void,
    ) => Effect.Effect<RelayOutcome, ConnectError>;
  }
>() {}

/** The transport of an implementation. */
export const make = ({
  name,
  faults,
  listen,
  connect,
  relay,
}: Mechanism): Context.Tag.Service<typeof Transport> => ({
  name,
  faults,
  listen,
  connect: (address, timeoutMillis) =>
    waiting((resume) => {
      let connection: Connection | undefined;
      const giveUp = connect(
        address,
        timeoutMillis,
        (made) => {
          connection = made;
          resume(Effect.succeed(made));
        },
        (error) => resume(Effect.fail(error)),
      );
      // What a fiber is interrupted with before it has heard of the connection: nobody else knows of it.
      return () => {
        if (connection === undefined) giveUp();
        else connection.reset();
      };
    }),
  relay: (client, backend, meter) =>
    waiting((resume) => relay(client, backend, meter, (outcome) => resume(Effect.succeed(outcome)))),
  forward: (client, address, timeoutMillis, meter, connected) =>
    waiting((resume) => {
      let giveUp = connect(
        address,
        timeoutMillis,
        (backend) => {
          giveUp = () => backend.reset();
          try {
            connected();
            giveUp = relay(client, backend, meter, (outcome) => resume(Effect.succeed(outcome)));
          } catch (defect) {
            resume(Effect.die(defect));
          }
        },
        (error) => resume(Effect.fail(error)),
      );
      return () => giveUp();
    }),
});
