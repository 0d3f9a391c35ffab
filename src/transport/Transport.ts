/**
 * The mechanism below a load balancer: it listens, probes, connects, and relays bytes between two connections. It
 * knows no backend, no algorithm and no metric, and fibers above it cannot tell one implementation from another.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { type ByteCounts, NodeTransport, Transport } from "zeitwork-load-balancer"
 *
 * // Every client that connects is relayed to one address.
 * const program = Effect.gen(function* () {
 *   const transport = yield* Transport.Transport
 *   const runtime = yield* Effect.runtime()
 *   yield* transport.listen({
 *     host: undefined,
 *     port: 8082,
 *     backlog: 4096,
 *     onAcceptError: () => {},
 *     onConnection: (client) => {
 *       const counts: ByteCounts = { received: 0, sent: 0 }
 *       const target = { host: "10.0.0.1", port: 80 }
 *       Effect.runCallback(Effect.provide(transport.forward(client, target, { timeoutMillis: 5_000 }, counts), runtime))
 *     },
 *   })
 *   return yield* Effect.never
 * }).pipe(Effect.scoped, Effect.provide(NodeTransport.layer))
 * ```
 */
import { Context, Data, Effect, type Scope } from "effect";
import * as InvalidOption from "../config/InvalidOption.js";
import type { ByteCounts } from "../net/ByteCounts.js";
import type { DataThreadStatus } from "../net/DataThreadStatus.js";
import type { ListenError } from "../net/ListenError.js";
import type { SocketAddress } from "../net/SocketAddress.js";
import { type ConnectError, fail } from "./ConnectError.js";
import { type ForwardCallbacks, forward, type RelayOutcome } from "./Forwarding.js";
import { HeadError, type HeadFailure } from "./HeadError.js";

export { ConnectError, type ConnectFailure, isLocal } from "./ConnectError.js";
export { type ForwardCallbacks, forward, type RelayEnd, type RelayOutcome } from "./Forwarding.js";
export { HeadError, type HeadFailure } from "./HeadError.js";

/**
 * A TCP connection to a client or a backend. Its owner has to end it: by {@link Transport.relay}, `close` or `reset`.
 *
 * @since 0.2.0
 * @category models
 */
export interface Connection {
  /** The peer. A client that came over IPv4 has its IPv4 address, on a listener for both families too. */
  readonly remote: SocketAddress;
  /** The address of this host that it is connected to; undefined where that is not known, or no longer. */
  readonly local?: SocketAddress | undefined;
  /** Ends it in order (FIN). Does nothing when it has ended. */
  readonly close: () => void;
  /** Ends it at once (RST), so that the peer cannot mistake it for an orderly end. Does nothing when it has ended. */
  readonly reset: () => void;
}

/**
 * Where and how to listen.
 *
 * @since 0.2.0
 * @category models
 */
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
   * `host` and `port`. The process that passed it has a copy, so it goes on queueing clients when this one is closed.
   */
  readonly inherited?: number | undefined;
  /**
   * How many accepted connections of this listener may be open at a time: 1 to 2,147,483,647. As many as there are
   * descriptors for by default. Further clients wait in the kernel's queue, as they do where there are no descriptors.
   */
  readonly maxConnections?: number | undefined;
  /** Called when a client waits because there are `maxConnections`; it may be often. Must not throw. */
  readonly onFull?: (() => void) | undefined;
  /** Called for each accepted connection, in the order of acceptance. Must not throw. */
  readonly onConnection: (connection: Connection) => void;
  /** Called when accepting failed. The listener goes on by itself, after a pause. Must not throw. */
  readonly onAcceptError: (error: AcceptError) => void;
  /**
   * Called for each client that was accepted only to be reset, because the limit is reached and no client has left
   * for long: ten seconds, and from then on a second at most. It has been reset when this returns. Where it is
   * undefined, no client is refused: clients wait until there is a place. Node's own sockets cannot let them wait where
   * there are no descriptors, and end each for whom there is none at once. Must not throw.
   */
  readonly onRefused?: ((connection: Connection) => void) | undefined;
}

/**
 * A socket that listens.
 *
 * @since 0.2.0
 * @category models
 */
export interface Listener {
  /** Where it listens: the port in use where port 0 was asked for, the address in use where none was named. */
  readonly address: SocketAddress;
  /**
   * Accepts all clients in the kernel's queue, which are connected already, and then stops listening:
   * `onConnection` may be called until this ends. A client that connects in its last microseconds may be reset. The
   * queue of an inherited socket is left to the other processes that have it. Accepted connections live on. Also done
   * when the scope closes.
   */
  readonly close: Effect.Effect<void>;
}

/**
 * Why a connection could not be accepted.
 *
 * @since 0.2.0
 * @category errors
 */
export type AcceptFailure =
  /** This process or host is out of descriptors or memory, or has as many clients as it can have. */
  | "exhausted"
  /** The client was gone before it was accepted. */
  | "client-gone"
  /** Anything else; the message has the system's own word for it. */
  | "other";

const acceptReasonOf = (code: string): AcceptFailure => {
  switch (code) {
    case "EMFILE":
    case "ENFILE":
    case "ENOBUFS":
    case "ENOMEM":
      return "exhausted";
    case "ECONNABORTED":
      return "client-gone";
    default:
      return "other";
  }
};

/** What an operator can do where a limit is reached (accept(2), errors). */
const acceptCureOf = (code: string): string | undefined => {
  switch (code) {
    case "EMFILE":
      return "this process has as many descriptors as it may have; raise ulimit -n (LimitNOFILE= in systemd's unit)";
    case "ENFILE":
      return "this host has as many open files as it may have; raise the sysctl fs.file-max";
    case "ENOBUFS":
    case "ENOMEM":
      return "the kernel has no memory left for sockets";
    default:
      return undefined;
  }
};

/**
 * A connection that could not be accepted.
 *
 * @since 0.2.0
 * @category errors
 */
export class AcceptError extends Data.TaggedError("AcceptError")<{
  /** The system's word for it: EMFILE, ENFILE, ENOBUFS, ... */
  readonly code: string;
  /** The error of Node's, where there was one. */
  readonly cause?: unknown;
}> {
  get reason(): AcceptFailure {
    return acceptReasonOf(this.code);
  }
  override get message(): string {
    if (this.reason === "client-gone") return `a client was gone before it was accepted (${this.code})`;
    const cure = acceptCureOf(this.code);
    return `a connection could not be accepted (${this.code})${cure === undefined ? "" : `: ${cure}`}`;
  }
}

/**
 * How to probe.
 *
 * @since 0.2.0
 * @category models
 */
export interface ProbeOptions {
  /** How long the host may take to answer, in milliseconds. */
  readonly timeoutMillis: number;
  /** Bytes that are sent where the program that listens there sees the probe: on Node's sockets. */
  readonly preface?: Uint8Array | undefined;
}

/**
 * What the beginning of a connection is.
 *
 * @since 0.2.0
 * @category models
 */
export interface HeadOptions {
  /** How long it may take to arrive, in milliseconds. */
  readonly timeoutMillis: number;
  /** The most bytes that it may have: 1 to 65,536. */
  readonly most: number;
  /**
   * How many bytes of those that have come so far are the beginning: 0 while that cannot be said, more than have come
   * where it is known before they have, and below 0 or above `most` where what comes is none. Must not throw, and must
   * not keep the bytes.
   */
  readonly lengthOf: (bytes: Uint8Array) => number;
}

/**
 * How to connect. One more option will be an optional field here: `source`, a local address to connect from.
 *
 * @since 0.2.0
 * @category models
 */
export interface ConnectOptions {
  /** How long connecting may take, in milliseconds. */
  readonly timeoutMillis: number;
  /**
   * Bytes that are sent to the backend as soon as it is connected, before the first byte of the client, and are not
   * counted: at most 65,536. It must not change.
   */
  readonly preface?: Uint8Array | undefined;
}

/**
 * How to connect and relay in one.
 *
 * @since 0.2.0
 * @category models
 */
export interface ForwardOptions extends ConnectOptions {
  /**
   * Called when the backend is connected, before the first byte is moved. Where other threads connect it is called
   * later: within half a second, and before what comes of it is told; then with the milliseconds that connecting took.
   * Must not throw.
   */
  readonly connected?: ((millis?: number) => void) | undefined;
}

/**
 * Gives up what was begun. Returns an effect that ends when all of that has ended, or nothing if it has ended already.
 *
 * @since 0.2.0
 * @category models
 */
export type GiveUp = () => Effect.Effect<void> | undefined | void;

/**
 * An effect that waits for what `start` begins; `start` returns how to give up. The wait can be interrupted inside an
 * uninterruptible region too. It gives up whenever the result does not reach the fiber, also when the interruption
 * comes in the same moment as the result. It does not give up after an error that was passed to `resume`.
 */
const waitFor = <A, E = never>(
  start: (resume: (result: Effect.Effect<A, E>) => void) => GiveUp,
): Effect.Effect<A, E> =>
  Effect.uninterruptibleMask(() => {
    let giveUp: GiveUp | undefined;
    // Not by async's own finalizer, which costs a connection more than all that it waits for.
    return Effect.catchAllCause(
      Effect.interruptible(
        Effect.async<A, E>((resume) => {
          giveUp = start(resume);
        }),
      ),
      (cause) => {
        const givenUp = cause._tag === "Fail" ? undefined : giveUp?.();
        const ended = Effect.failCause(cause);
        return givenUp === undefined ? ended : Effect.zipRight(givenUp, ended);
      },
    );
  });

/**
 * What an implementation provides; {@link make} turns it into a {@link Transport}. Probing, connecting and relaying
 * are plain calls that return how to give up. Of the callbacks of one call at most one is called, once, and none
 * after giving up. An error that {@link ConnectError} was made for from EADDRNOTAVAIL is refined by `make`.
 *
 * @since 0.2.0
 * @category models
 */
export interface Mechanism {
  readonly name: string;
  readonly faults: () => number;
  readonly dataThreads?: (() => ReadonlyArray<DataThreadStatus>) | undefined;
  readonly listen: (options: ListenOptions) => Effect.Effect<Listener, ListenError, Scope.Scope>;
  readonly deferAccept?: ((descriptor: number, millis: number) => void) | undefined;
  readonly bringUpToDate?: ((client: Connection) => void) | undefined;
  readonly unacknowledged?: ((client: Connection) => number) | undefined;
  readonly idleMillis?: ((client: Connection) => number) | undefined;
  /** Giving up leaves nothing behind. */
  readonly probe: (
    target: SocketAddress,
    options: ProbeOptions,
    answered: () => void,
    failed: (error: ConnectError) => void,
  ) => () => void;
  /**
   * Does not call `made` before it has returned. Giving up leaves nothing behind, unless the connection was made: it
   * belongs to the caller then. `client` is whom it will be relayed to at once, where that is known.
   */
  readonly connect: (
    target: SocketAddress,
    options: ConnectOptions,
    made: (connection: Connection) => void,
    failed: (error: ConnectError) => void,
    client?: Connection,
  ) => () => void;
  /** Giving up leaves the client to the caller, as all ends of it do. */
  readonly head: (
    client: Connection,
    options: HeadOptions,
    read: (bytes: Uint8Array) => void,
    failed: (failure: HeadFailure) => void,
  ) => () => void;
  /**
   * Calls `broken` once the client has broken off (RST, or its connection has died), and not before it has returned; a FIN
   * is no reason. Answers how to stop, after which it is not called, and the client is the caller's as before: no byte of
   * it has been read that `relay` and `forward` do not move.
   */
  readonly watch: (client: Connection, broken: () => void) => () => void;
  /** Giving up resets both. */
  readonly relay: (
    client: Connection,
    backend: Connection,
    counts: ByteCounts,
    ended: (outcome: RelayOutcome) => void,
  ) => () => void;
  /**
   * If it is missing, or returns undefined, {@link forward} does the same with the two above. Giving up leaves the
   * client to the caller while the backend is being connected to, and resets both from then on.
   */
  readonly forward?: (
    client: Connection,
    target: SocketAddress,
    options: ForwardOptions,
    counts: ByteCounts,
    callbacks: ForwardCallbacks<ConnectError>,
  ) => GiveUp | undefined;
}

/** Resumes a fiber that waits for it. */
class Resuming implements ForwardCallbacks<ConnectError> {
  constructor(readonly resume: (result: Effect.Effect<RelayOutcome, ConnectError>) => void) {}
  readonly ended = (outcome: RelayOutcome): void => this.resume(Effect.succeed(outcome));
  readonly failed = (error: ConnectError): void => this.resume(fail(error));
  readonly threw = (defect: unknown): void => this.resume(Effect.die(defect));
}

/**
 * The verbs of a transport. All waits can be interrupted, inside an uninterruptible region too.
 *
 * Verbs that will be added, and how they fit, so that what is here need not change:
 * - `abort` ends a connection or a relay that no fiber waits for (one that a data thread runs, or that was adopted).
 *   Where a fiber waits, interrupting it does the same; before that there is {@link Connection.reset}.
 * - `exportRelay` names a running relay by its client, stops it between two bytes, and returns a record: both
 *   descriptors, what was read and not yet written, which side has sent FIN and whether that was passed on, and the
 *   counts. From then on the relay owns nothing: interrupting its fiber touches neither side. `adopt` relays on from
 *   such a record as {@link relay} does, with counts that go on from the record's.
 *
 * @since 0.2.0
 * @category tags
 */
export class Transport extends Context.Tag("zeitwork-load-balancer/Transport")<
  Transport,
  {
    /** The implementation's name, for logs: `node`, `linux`, `io_uring`. */
    readonly name: string;
    /**
     * Exceptions of its own that it has caught since it began. Each has reset a connection, was logged, and is a bug.
     * Always 0 for an implementation that catches none.
     */
    readonly faults: () => number;
    /** Its data threads at this moment. None for an implementation that has none. */
    readonly dataThreads?: (() => ReadonlyArray<DataThreadStatus>) | undefined;
    /**
     * Listens until the scope closes. Each accepted connection belongs to `onConnection`. No byte of a connection is
     * read before it is relayed: what a client sends early waits in the kernel.
     */
    readonly listen: (
      options: ListenOptions,
    ) => Effect.Effect<Listener, ListenError | InvalidOption.InvalidOption, Scope.Scope>;
    /**
     * Has the kernel keep back each connection of a listening TCP socket, named by its descriptor, until its first
     * bytes have come, or this many milliseconds have passed (TCP_DEFER_ACCEPT): for protocols in which the client
     * speaks first. Where the kernel refuses it, nothing changes. Undefined where it cannot be asked.
     */
    readonly deferAccept?: ((descriptor: number, millis: number) => void) | undefined;
    /**
     * What is known here of a client that is being forwarded is as it was a moment ago, once this has returned: its
     * counts, and whether its backend is connected (`connected` is called by it, where it has not been). Undefined
     * where nothing of that is ever late.
     */
    readonly bringUpToDate?: ((client: Connection) => void) | undefined;
    /**
     * How many bytes were written to a client that is relayed, and to its backend, and were not acknowledged by them:
     * by this a reader that takes bytes slowly is told from one that takes none, while none is read. 0 for a client
     * that is not relayed. Undefined where it cannot be asked.
     */
    readonly unacknowledged?: ((client: Connection) => number) | undefined;
    /**
     * For how many milliseconds nothing has come from a client, nor from its backend where it has one: as the kernel knows,
     * when it is asked. Undefined where it cannot be asked.
     */
    readonly idleMillis?: ((client: Connection) => number) | undefined;
    /**
     * Asks whether a connection could be made, and leaves none. It succeeds when the target's host has answered that
     * it could; the program that listens there may or may not see a connection that is gone at once.
     */
    readonly probe: (target: SocketAddress, options: ProbeOptions) => Effect.Effect<void, ConnectError>;
    /**
     * Connects, and returns a connection that the caller has to end. It leaves nothing behind when it fails or is
     * interrupted. Call it in an uninterruptible region: otherwise a connection that is made in the moment of an
     * interruption has no owner.
     *
     * The deadline is the transport's, because a timer for each fiber costs more than all the rest of a connection.
     */
    readonly connect: (
      target: SocketAddress,
      options: ConnectOptions,
    ) => Effect.Effect<Connection, ConnectError>;
    /**
     * Reads the beginning of an accepted connection that has not been relayed, once: no byte behind it, which is left
     * to {@link relay} and {@link forward}. If what arrives is not such a beginning, it returns what has arrived, which
     * stays unread. The connection is the caller's before and after, also where this fails or is interrupted.
     */
    readonly head: (client: Connection, options: HeadOptions) => Effect.Effect<Uint8Array, HeadError>;
    /**
     * Calls `broken` once an accepted connection that is not relayed yet is broken off by its client (RST, or it has died); a
     * FIN is no reason. Answers how to stop, which has to come before whatever is done with the connection next. On Node's
     * sockets what the client has sent first may delay it by two seconds.
     */
    readonly watch: (client: Connection, broken: () => void) => () => void;
    /**
     * Moves bytes both ways until both directions have ended, and ends both connections. Half-close is kept: a FIN
     * of one side is passed on once all bytes before it were delivered, and the other direction goes on. A reset of
     * one side becomes a reset of the other. A slow reader slows its sender: buffers are bounded. Bytes are counted
     * as they are read.
     *
     * Interruption resets both. One that comes before the relay has begun leaves both to the caller.
     */
    readonly relay: (
      client: Connection,
      backend: Connection,
      counts: ByteCounts,
    ) => Effect.Effect<RelayOutcome>;
    /**
     * {@link connect} and {@link relay} in one wait: to wake a fiber in between costs more than a connection needs.
     * When connecting fails or is interrupted, or `connected` throws, the client is the caller's as before; from then
     * on it is the relay's.
     */
    readonly forward: (
      client: Connection,
      target: SocketAddress,
      options: ForwardOptions,
      counts: ByteCounts,
    ) => Effect.Effect<RelayOutcome, ConnectError>;
  }
>() {}

/** listen(2) takes an int. */
const longestBacklog = 2 ** 31 - 1;

/**
 * The transport of an implementation.
 *
 * @since 0.2.0
 * @category constructors
 */
export const make = ({
  name,
  faults,
  dataThreads,
  listen,
  deferAccept,
  bringUpToDate,
  unacknowledged,
  idleMillis,
  probe,
  connect,
  head,
  watch,
  relay,
  forward: elsewhere,
}: Mechanism): Context.Tag.Service<typeof Transport> => ({
  name,
  faults,
  dataThreads,
  listen: (options) =>
    Effect.zipRight(
      Effect.all([
        InvalidOption.ipAddress("host", options.host),
        InvalidOption.port("port", options.port),
        InvalidOption.count("backlog", options.backlog, { least: 1, most: longestBacklog }),
        InvalidOption.countOrNone("maxConnections", options.maxConnections, {
          least: 1,
          most: longestBacklog,
        }),
      ]),
      listen(options),
    ),
  deferAccept,
  bringUpToDate,
  unacknowledged,
  idleMillis,
  probe: (target, options) =>
    waitFor((resume) =>
      probe(
        target,
        options,
        () => resume(Effect.void),
        (error) => resume(fail(error)),
      ),
    ),
  connect: (target, options) =>
    waitFor((resume) => {
      let connection: Connection | undefined;
      const giveUp = connect(
        target,
        options,
        (made) => {
          connection = made;
          resume(Effect.succeed(made));
        },
        (error) => resume(fail(error)),
      );
      // A connection that was made and did not reach the fiber, because that was interrupted, has no other owner.
      return () => {
        if (connection === undefined) giveUp();
        else connection.reset();
      };
    }),
  head: (client, options) =>
    waitFor((resume) =>
      head(
        client,
        options,
        (bytes) => resume(Effect.succeed(bytes)),
        (reason) => resume(Effect.fail(new HeadError({ reason }))),
      ),
    ),
  watch,
  relay: (client, backend, counts) =>
    waitFor((resume) => relay(client, backend, counts, (outcome) => resume(Effect.succeed(outcome)))),
  forward: (client, target, options, counts) =>
    waitFor((resume) => {
      const callbacks = new Resuming(resume);
      return (
        elsewhere?.(client, target, options, counts, callbacks) ??
        forward<Connection, Connection, ConnectError>(
          (made, failed) => connect(target, options, made, failed, client),
          (from, to, ended) => relay(from, to, counts, ended),
          client,
          options.connected,
          callbacks,
        )
      );
    }),
});
