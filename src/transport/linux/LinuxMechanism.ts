/**
 * The Linux transport's `Mechanism`, over given system calls and a given event loop: listens, probes, connects and
 * relays on the engine, and on io_uring or data threads where configured.
 */
import { Cause, type Context, Effect, Runtime, type Scope } from "effect";
import * as Descriptors from "../../net/Descriptors.js";
import { failureOf, ListenError } from "../../net/ListenError.js";
import type { SocketAddress } from "../../net/SocketAddress.js";
import { ConnectError, ofCode } from "../ConnectError.js";
import { Places } from "../Places.js";
import { SourceAddresses } from "../SourceAddresses.js";
import {
  type Connection,
  type ConnectOptions,
  type ForwardCallbacks,
  type Listener,
  type ListenOptions,
  type Mechanism,
  make as makeTransport,
  type Transport,
} from "../Transport.js";
import * as DataThreads from "../threads/DataThreads.js";
import { longestPreface } from "../threads/Slots.js";
import { Acceptor } from "./Acceptor.js";
import { Connecting, type Destination, type Failure, timedOut } from "./Connecting.js";
import { HostLoop, Libc } from "./ContextTags.js";
import { copied, Engine } from "./Engine.js";
import type { EventCounters } from "./EventCounter.js";
import { Head } from "./Head.js";
import { format, parse } from "./InetAddress.js";
import {
  AF_INET,
  AF_INET6,
  addressSize,
  errnoName,
  IPPROTO_IPV6,
  IPPROTO_TCP,
  IPV6_V6ONLY,
  type RawAddress,
  type Result,
  readAddress,
  SO_REUSEADDR,
  SO_REUSEPORT,
  SOL_SOCKET,
  TCP_DEFER_ACCEPT,
  TCP_NODELAY,
  writeAddress,
} from "./Libc.js";
import { sendPreface } from "./Preface.js";
import { Relay } from "./Relay.js";
import { ResetOnCrash } from "./ResetOnCrash.js";
import { ResetWatch } from "./ResetWatch.js";
import type { Ring } from "./Ring.js";
import { RingConnecting } from "./RingConnecting.js";
import { RingRelay } from "./RingRelay.js";
import { keepAlive, Socket } from "./Socket.js";
import { TransportUnavailable, unavailable } from "./TransportUnavailable.js";
import type { RingRemains } from "./Uring.js";

/** @internal */
export interface Options {
  /** How many clients may be connected at once, with room for a backend each. */
  readonly capacity: number;
  /** Connects, and relays small traffic, by io_uring; by epoll unless said otherwise. May throw where there is none. */
  readonly ring?: (engine: Engine) => Ring;
  /** How many data threads connect and relay what is forwarded, and the file that they run. None unless given. */
  readonly threads?: ThreadOptions & {
    readonly counters: EventCounters;
    /** Where they load koffi from. */
    readonly koffi: string;
    /** Where they do so by io_uring, as {@link DataThreads.Options} has it. */
    readonly clearRing?: (remains: RingRemains) => void;
  };
}

/**
 * Data threads: how many, and what they run.
 *
 * @since 0.2.0
 * @category models
 */
export interface ThreadOptions {
  /** How many, from 1 to 64. */
  readonly threads: number;
  /**
   * The path or URL of the file that a data thread runs: `transport/threads/worker.cjs` of this package, and by default
   * that. To be said where a bundler has moved it.
   */
  readonly file?: string | URL | undefined;
  /** Whether they, and the main thread, use io_uring, as `LinuxTransport.layerIoUring` does; false by default. */
  readonly ioUring?: boolean | undefined;
}

/** Descriptors' numbers are below this one, where the system does not say: Linux's own limit (fs.nr_open). */
const mostDescriptors = 2 ** 20;

const everyInet6: RawAddress = {
  family: AF_INET6,
  bytes: Array.from({ length: 16 }, () => 0),
  port: 0,
  scope: 0,
};
const everyInet: RawAddress = { family: AF_INET, bytes: [0, 0, 0, 0], port: 0, scope: 0 };

// Only connections that this transport made come back to it.
const socketOf = (connection: Connection): Socket => {
  if (connection instanceof Socket) return connection;
  throw new TypeError("a connection of another transport was given to the Linux transport");
};

/**
 * The transport over the given system calls and loop; everything it opened ends with the scope.
 *
 * @internal
 */
export const make = (
  options: Options,
): Effect.Effect<
  Context.Tag.Service<typeof Transport>,
  TransportUnavailable,
  Libc | HostLoop | Scope.Scope
> =>
  Effect.gen(function* () {
    const libc = yield* Libc;
    const hostLoop = yield* HostLoop;
    const resetsOnCrash = yield* ResetOnCrash;
    const sourceHosts = yield* SourceAddresses;
    const run = Runtime.runFork(yield* Effect.runtime());
    const report = (fault: unknown): void => {
      run(Effect.logError("connection reset after a fault of the transport", Cause.die(fault)));
    };
    const engine = yield* Effect.acquireRelease(
      Effect.try({
        try: () =>
          new Engine(libc, hostLoop, options.capacity, report, undefined, resetsOnCrash, sourceHosts),
        catch: (cause) => unavailable("not-callable", cause),
      }),
      (engine) => Effect.sync(() => engine.shutdown()),
    );
    const { ring: makeRing } = options;
    const ring =
      makeRing === undefined
        ? undefined
        : yield* Effect.acquireRelease(
            Effect.try({
              try: () => makeRing(engine),
              catch: (cause) => unavailable("no-io_uring", cause),
            }),
            (ring) =>
              Effect.sync(() => {
                // What it carries ends before it does.
                engine.shutdown();
                ring.shutdown();
              }),
          );

    // Every address is prepared once, and kept for as long as it is referenced.
    const destinations = new WeakMap<SocketAddress, Destination>();
    const destinationOf = (address: SocketAddress): Destination | undefined => {
      const known = destinations.get(address);
      if (known !== undefined) return known;
      const raw = parse(address);
      if (raw === undefined || !(address.port >= 1 && address.port <= 65_535)) return undefined;
      const block = libc.allocate(addressSize);
      const destination = { family: raw.family, address: block, length: writeAddress(block, raw) };
      destinations.set(address, destination);
      return destination;
    };

    const open = (address: RawAddress, { backlog, reusePort = false }: ListenOptions): Result => {
      const fd = libc.socket(address.family);
      if (fd < 0) return fd;
      // Accepted sockets inherit these from their listener.
      libc.setOption(fd, IPPROTO_TCP, TCP_NODELAY, 1);
      if (resetsOnCrash) libc.resetOnClose(fd, true);
      keepAlive(libc, fd);
      libc.setOption(fd, SOL_SOCKET, SO_REUSEADDR, 1);
      if (address.family === AF_INET6) libc.setOption(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0);
      let result = reusePort ? libc.setOption(fd, SOL_SOCKET, SO_REUSEPORT, 1) : 0;
      if (result >= 0) result = libc.bind(fd, engine.address, writeAddress(engine.address, address));
      if (result >= 0) result = libc.listen(fd, backlog);
      if (result >= 0) return fd;
      libc.close(fd);
      return result;
    };

    /** Every address of both families; IPv4's where the host has no IPv6. */
    const openEvery = (options: ListenOptions): Result => {
      const fd = open({ ...everyInet6, port: options.port }, options);
      return fd < 0 && failureOf(errnoName(fd)) === "no-such-address"
        ? open({ ...everyInet, port: options.port }, options)
        : fd;
    };

    /** A socket of others: what is set on it is what is set on one of ours. */
    const adopt = (fd: number, { backlog }: ListenOptions): Result => {
      let result = libc.setNonBlocking(fd);
      // Fails if it is not a TCP socket; if it listens already, its queue is resized.
      if (result >= 0) result = libc.setOption(fd, IPPROTO_TCP, TCP_NODELAY, 1);
      if (result >= 0) result = libc.listen(fd, backlog);
      if (result < 0) return result;
      if (resetsOnCrash) libc.resetOnClose(fd, true);
      keepAlive(libc, fd);
      return fd;
    };

    const startListening = (options: ListenOptions): Effect.Effect<Acceptor, ListenError> =>
      Effect.suspend(() => {
        const { host, inherited, port } = options;
        const asked = { host: host ?? "::", port };
        const fail = (code: string) =>
          Effect.fail(new ListenError({ reason: failureOf(code), address: asked, code }));
        const raw = host === undefined ? undefined : parse({ host, port });
        if (host !== undefined && raw === undefined) return fail("EINVAL");
        const opened = raw === undefined ? () => openEvery(options) : () => open(raw, options);
        const fd = inherited === undefined ? opened() : adopt(inherited, options);
        if (fd < 0) return fail(errnoName(fd));
        const acceptor = new Acceptor(
          engine,
          fd,
          options.onConnection,
          options.onAcceptError,
          options.onRefused,
          options.maxConnections === undefined ? undefined : new Places(options.maxConnections),
          options.onFull,
        );
        const started = acceptor.start();
        if (started >= 0) return Effect.succeed(acceptor);
        acceptor.close();
        return fail(errnoName(started));
      });

    const stopListening =
      ({ backlog, inherited }: ListenOptions) =>
      (acceptor: Acceptor): Effect.Effect<void> =>
        inherited === undefined
          ? Effect.async((resume) => acceptor.drain(backlog, () => resume(Effect.void)))
          : Effect.sync(() => acceptor.close());

    const listen = (options: ListenOptions): Effect.Effect<Listener, ListenError, Scope.Scope> =>
      Effect.acquireRelease(startListening(options), stopListening(options)).pipe(
        Effect.map((acceptor) => {
          const named = libc.socketName(acceptor.fd, engine.address);
          const address = named < 0 ? undefined : readAddress(engine.address);
          return {
            address:
              address === undefined ? { host: options.host ?? "::", port: options.port } : format(address),
            close: stopListening(options)(acceptor),
          };
        }),
      );

    const deferAccept = (descriptor: number, millis: number): void => {
      libc.setOption(descriptor, IPPROTO_TCP, TCP_DEFER_ACCEPT, Math.ceil(millis / 1_000));
    };

    const connecting = (
      target: SocketAddress,
      { preface, timeoutMillis }: ConnectOptions,
      made: (socket: Socket) => void,
      failed: (error: ConnectError) => void,
      quickAcknowledge?: boolean,
    ): (() => void) => {
      const destination = destinationOf(target);
      if (destination === undefined) {
        failed(new ConnectError({ reason: "invalid-address", address: target, code: undefined }));
        return () => {};
      }
      const onSettled = (result: Socket | Failure): void => {
        if (!(result instanceof Socket)) {
          failed(errorOf(target, result));
          return;
        }
        const sent = preface === undefined ? 0 : sendPreface(result, preface);
        if (sent === 0) made(result);
        else {
          result.end(true);
          failed(errorOf(target, Math.abs(sent)));
        }
      };
      const attempt =
        ring === undefined
          ? new Connecting(engine, target, onSettled)
          : new RingConnecting(engine, ring, target, onSettled);
      attempt.start(destination, timeoutMillis, quickAcknowledge);
      return () => attempt.cancel();
    };

    // If the client has sent bytes, they follow at once, with the ACK; if the backend speaks first, it needs the ACK
    // now.
    const connect: Mechanism["connect"] = (target, options, made, failed, client) =>
      connecting(target, options, made, failed, client === undefined || !socketOf(client).hasSent());

    // When the socket is connected, the host has answered; the ACK that completes the handshake is not sent yet.
    const probe: Mechanism["probe"] = (target, options, answered, failed) =>
      connecting(
        target,
        // Without a preface: no program sees this connection.
        { timeoutMillis: options.timeoutMillis },
        (socket) => {
          socket.reset();
          answered();
        },
        failed,
        false,
      );

    const head: Mechanism["head"] = (client, { lengthOf, most, timeoutMillis }, read, failed) => {
      const reading = new Head(socketOf(client), Math.min(most, copied), lengthOf, read, failed);
      reading.start(timeoutMillis);
      return () => reading.cancel();
    };

    const watch: Mechanism["watch"] = (client, broken) => {
      const watching = new ResetWatch(socketOf(client), broken);
      watching.start();
      return () => watching.stop();
    };

    const relay: Mechanism["relay"] = (client, backend, counts, ended) => {
      const running =
        ring === undefined
          ? new Relay(socketOf(client), socketOf(backend), counts, ended)
          : new RingRelay(ring, socketOf(client), socketOf(backend), counts, ended);
      running.start();
      return () => running.abort();
    };

    const threads =
      options.threads === undefined
        ? undefined
        : yield* DataThreads.make(engine, options.threads.counters, {
            count: options.threads.threads,
            file: options.threads.file,
            koffi: options.threads.koffi,
            clearRing: options.threads.clearRing,
            capacity: options.capacity,
            descriptors: Descriptors.read()?.limit ?? mostDescriptors,
            onFault: (text) => report(new Error(text)),
          }).pipe(
            Effect.mapError(({ why }) => new TransportUnavailable({ reason: "no-threads", detail: why })),
          );

    const forward: Mechanism["forward"] = (client, target, options, counts, callbacks) => {
      const socket = socketOf(client);
      const destination = socket.closed ? undefined : destinationOf(target);
      return destination === undefined || (options.preface?.length ?? 0) > longestPreface
        ? undefined
        : threads?.forward(socket, destination, options, counts, new Translated(target, callbacks));
    };

    return makeTransport({
      name: ring === undefined ? "linux" : "io_uring",
      faults: () => engine.faults.count + (threads?.faults() ?? 0),
      listen,
      deferAccept,
      probe,
      connect,
      head,
      watch,
      relay,
      unacknowledged: (client) => socketOf(client).owner?.unacknowledged?.() ?? 0,
      idleMillis: (client) => {
        const socket = socketOf(client);
        return socket.owner?.idleMillis?.() ?? socket.idleMillis();
      },
      ...(threads === undefined
        ? {}
        : {
            forward,
            dataThreads: threads.threads,
            bringUpToDate: (client) => threads.bringUpToDate(socketOf(client)),
          }),
    });
  });

/** Tells of a data thread's failures in the transport's words. */
class Translated implements ForwardCallbacks<Failure> {
  readonly ended: ForwardCallbacks<Failure>["ended"];
  readonly threw: ForwardCallbacks<Failure>["threw"];

  constructor(
    readonly target: SocketAddress,
    readonly callbacks: ForwardCallbacks<ConnectError>,
  ) {
    this.ended = callbacks.ended;
    this.threw = callbacks.threw;
  }

  readonly failed = (failure: Failure): void => this.callbacks.failed(errorOf(this.target, failure));
}

/** What a connect's failure is called. */
const errorOf = (address: SocketAddress, failure: Failure): ConnectError =>
  failure === timedOut
    ? new ConnectError({ reason: "timeout", address, code: undefined })
    : ofCode(address, failure > 0 ? errnoName(failure) : undefined);
