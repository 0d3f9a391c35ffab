/**
 * The portable transport: Node's own sockets. It runs wherever Node runs, with no privilege and nothing to install.
 */
import * as net from "node:net";
import { type Context, Effect, Layer, Runtime, Schedule, type Scope } from "effect";
import { Deadlines, Expiring } from "../../clock/Deadlines.js";
import * as FiberLoop from "../../clock/FiberLoop.js";
import * as MonotonicClock from "../../clock/MonotonicClock.js";
import * as TimeSlices from "../../clock/TimeSlices.js";
import * as DescriptorBudget from "../../net/DescriptorBudget.js";
import * as Descriptors from "../../net/Descriptors.js";
import { canonical } from "../../net/IpAddress.js";
import { failureOf, ListenError } from "../../net/ListenError.js";
import { isIpAddress, type SocketAddress } from "../../net/SocketAddress.js";
import { paceMillis } from "../AcceptQueueTimeout.js";
import { ConnectError, ofCode } from "../ConnectError.js";
import { SourceAddresses } from "../SourceAddresses.js";
import * as SourceTurns from "../SourceTurns.js";
import {
  AcceptError,
  type Connection,
  type ListenOptions,
  type Mechanism,
  make as makeTransport,
  Transport,
} from "../Transport.js";
import { LoopIterations } from "./LoopIterations.js";
import { ignoreErrors, NodeConnection, reset } from "./NodeConnection.js";
import { NodeHead } from "./NodeHead.js";
import { NodeRelay, type Shared } from "./NodeRelay.js";
import { NodeResetWatch } from "./NodeResetWatch.js";
import { WaitingClients } from "./WaitingClients.js";

/** What one direction of one connection may hold back while its reader is slow, in bytes; one chunk may exceed it. */
const buffered = 128 * 1024;

/** How long a connection is silent before the kernel asks whether its peer still lives. */
const keepAliveMillis = 60_000;

/** How often those that may have been reset without being told are asked, and how many in one turn. */
const resetInterval = "2 seconds";
const asksPerTurn = 512;

const codeOf = (error: Error): string | undefined =>
  "code" in error && typeof error.code === "string" ? error.code : undefined;

// Only connections that this transport made come back to it.
const own = (connection: Connection): NodeConnection => {
  if (connection instanceof NodeConnection) return connection;
  throw new TypeError("a connection of another transport was given to the node transport");
};

/** A connection that has ended. */
const ended = (remote: SocketAddress): Connection => ({ remote, close: () => {}, reset: () => {} });

const open = ({
  host,
  port,
  inherited,
  backlog,
  maxConnections,
  onFull = () => {},
  onConnection,
  onAcceptError,
  onRefused,
}: ListenOptions) =>
  Effect.async<Listening, ListenError>((resume) => {
    const server = net.createServer({
      allowHalfOpen: true,
      // What a client sends early waits in the kernel until there is a backend to send it to.
      pauseOnConnect: true,
      noDelay: true,
      keepAlive: true,
      keepAliveInitialDelay: keepAliveMillis,
      highWaterMark: buffered,
    });
    // Beyond its limit Node closes a new connection silently; this way it is reported.
    const max = DescriptorBudget.forClients(Descriptors.read());
    if (max !== undefined) server.maxConnections = max;
    const serve = (socket: net.Socket): void => {
      // A peer that has reset its connection has no address any more, and without one it can be neither balanced nor
      // logged.
      const { remoteAddress, remotePort } = socket;
      if (remoteAddress === undefined || remotePort === undefined) {
        ignoreErrors(socket);
        socket.destroy();
        onAcceptError(new AcceptError({ code: "ECONNABORTED" }));
      } else onConnection(new NodeConnection(socket, { host: canonical(remoteAddress), port: remotePort }));
    };
    const refuse = (socket: net.Socket): void => {
      const { remoteAddress, remotePort } = socket;
      ignoreErrors(socket);
      reset(socket);
      if (remoteAddress !== undefined && remotePort !== undefined) {
        onRefused?.(ended({ host: canonical(remoteAddress), port: remotePort }));
      }
    };
    const waiting =
      maxConnections === undefined
        ? undefined
        : new WaitingClients(maxConnections, backlog, serve, refuse, onFull);
    const listening = new Listening(server, inherited !== undefined, backlog, waiting);
    server.on("connection", (socket) => {
      listening.taken += 1;
      if (waiting === undefined) serve(socket);
      else {
        // It may be reset while it waits.
        ignoreErrors(socket);
        waiting.come(socket);
      }
    });
    server.on("drop", (dropped) => {
      listening.taken += 1;
      const { remoteAddress, remotePort } = dropped ?? {};
      if (onRefused === undefined || remoteAddress === undefined || remotePort === undefined) {
        onAcceptError(new AcceptError({ code: "EMFILE" }));
      } else onRefused(ended({ host: canonical(remoteAddress), port: remotePort }));
    });
    server.once("error", (cause) => {
      const code = codeOf(cause);
      const address = { host: host ?? "::", port };
      resume(Effect.fail(new ListenError({ reason: failureOf(code), address, code, cause })));
    });
    const where =
      inherited === undefined ? { ...(host === undefined ? {} : { host }), port } : { fd: inherited };
    server.listen({ ...where, backlog }, () => {
      server.removeAllListeners("error");
      server.on("error", (cause) =>
        onAcceptError(new AcceptError({ code: codeOf(cause) ?? cause.message, cause })),
      );
      resume(Effect.succeed(listening));
    });
  });

/** A server that listens. */
class Listening {
  /** Connections that the kernel has handed over. */
  taken = 0;
  #closing = false;

  constructor(
    readonly server: net.Server,
    readonly inherited: boolean,
    readonly backlog: number,
    readonly waiting: WaitingClients | undefined,
  ) {}

  address(asked: SocketAddress): SocketAddress {
    const bound = this.server.address();
    return bound === null || typeof bound === "string" ? asked : { host: bound.address, port: bound.port };
  }

  /**
   * Node takes connections off the kernel's queue in turns of its loop, one or all of them as its version has it. The
   * queue is empty once a turn has brought none. The first immediate may come in the turn that is under way.
   */
  readonly close: Effect.Effect<void> = Effect.async((resume) => {
    const close = (): void => {
      this.server.close();
      this.waiting?.close();
      resume(Effect.void);
    };
    let left = this.backlog + 2;
    let taken = this.taken;
    let quiet = 0;
    const look = (): void => {
      quiet = this.taken === taken ? quiet + 1 : 0;
      taken = this.taken;
      left -= 1;
      if (quiet < 2 && left > 0) setImmediate(look);
      else close();
    };
    if (this.#closing || this.inherited) close();
    else {
      this.#closing = true;
      setImmediate(look);
    }
  });
}

const listen: Mechanism["listen"] = (options) =>
  Effect.acquireRelease(open(options), ({ close }) => close).pipe(
    Effect.tap(({ waiting }) =>
      waiting === undefined || options.onRefused === undefined
        ? Effect.void
        : Effect.flatMap(MonotonicClock.now, (now) => Effect.sync(() => waiting.look(now))).pipe(
            Effect.repeat(Schedule.spaced(paceMillis)),
            Effect.forkScoped,
          ),
    ),
    Effect.map((listening) => ({
      address: listening.address({ host: options.host ?? "::", port: options.port }),
      close: listening.close,
    })),
  );

/** A socket on its way to a backend, with its deadline. */
class Connecting extends Expiring {
  #socket: net.Socket;
  /** How many of the source addresses have not been tried. */
  #sourcesLeft: number;
  #place: number;

  constructor(
    readonly target: SocketAddress,
    readonly deadlines: Deadlines,
    readonly sources: SourceTurns.SourceTurns<string> | undefined,
    readonly preface: Uint8Array | undefined,
    readonly made: (connection: Connection) => void,
    readonly failed: (error: ConnectError) => void,
  ) {
    super();
    this.#place = sources?.take() ?? 0;
    this.#sourcesLeft = (sources?.count ?? 1) - 1;
    this.#socket = this.#open();
  }

  #open(): net.Socket {
    const { sources, target } = this;
    const options: net.NetConnectOpts & { readonly highWaterMark: number } = {
      host: target.host,
      port: target.port,
      ...(sources === undefined ? {} : { localAddress: sources.at(this.#place) }),
      allowHalfOpen: true,
      noDelay: true,
      keepAlive: true,
      keepAliveInitialDelay: keepAliveMillis,
      // Passed on to the stream, which the types leave out.
      highWaterMark: buffered,
    };
    const socket = net.connect(options);
    socket.on("error", this.#onError);
    socket.on("connect", this.#onConnect);
    return socket;
  }

  readonly #onError = (cause: Error): void => {
    const code = codeOf(cause);
    // Out of ports, or gone from this host.
    if (this.#sourcesLeft > 0 && (code === "EADDRNOTAVAIL" || code === "EADDRINUSE")) {
      this.#abandon();
      this.#sourcesLeft -= 1;
      this.#place += 1;
      this.#socket = this.#open();
      return;
    }
    this.cancel();
    this.failed(ofCode(this.target, code, cause));
  };

  readonly #onConnect = (): void => {
    this.#settle();
    if (this.preface !== undefined) this.#socket.write(this.preface);
    this.made(new NodeConnection(this.#socket, this.target));
  };

  readonly expire = (): void => {
    this.cancel();
    this.failed(new ConnectError({ reason: "timeout", address: this.target, code: undefined }));
  };

  #settle(): void {
    this.deadlines.remove(this);
    this.#socket.off("error", this.#onError);
    this.#socket.off("connect", this.#onConnect);
  }

  #abandon(): void {
    this.#socket.off("error", this.#onError);
    this.#socket.off("connect", this.#onConnect);
    ignoreErrors(this.#socket);
    this.#socket.destroy();
  }

  readonly cancel = (): void => {
    this.deadlines.remove(this);
    this.#abandon();
  };
}

const connectWithin =
  (deadlines: Deadlines, sources: SourceTurns.Sources<string> | undefined): Mechanism["connect"] =>
  (target, { preface, timeoutMillis }, made, failed) => {
    if (!isIpAddress(target.host) || !(target.port >= 1 && target.port <= 65_535)) {
      const error = new ConnectError({ reason: "invalid-address", address: target, code: undefined });
      const due = setImmediate(() => failed(error));
      return () => clearImmediate(due);
    }
    const turns = net.isIPv6(target.host) ? sources?.inet6 : sources?.inet;
    const connecting = new Connecting(target, deadlines, turns, preface, made, failed);
    deadlines.add(connecting, timeoutMillis);
    return connecting.cancel;
  };

const relayWith =
  (shared: Shared): Mechanism["relay"] =>
  (client, backend, counts, ended) => {
    const { headLength, socket } = own(client);
    const running = new NodeRelay(socket, own(backend).socket, counts, ended, shared, headLength);
    return () => running.abort();
  };

const headWithin =
  (deadlines: Deadlines): Mechanism["head"] =>
  (client, { lengthOf, most, timeoutMillis }, read, failed) => {
    const reading = new NodeHead(own(client), deadlines, most, lengthOf, read, failed);
    reading.start(timeoutMillis);
    return () => reading.cancel();
  };

/** Finds resets that Node does not report. */
const findResets = ({ suspects }: Shared): Effect.Effect<void> =>
  Effect.gen(function* () {
    let asked = 0;
    for (const suspect of suspects) {
      suspect.findReset();
      asked += 1;
      if (asked % asksPerTurn === 0) yield* TimeSlices.turn;
    }
  });

const make: Effect.Effect<Context.Tag.Service<typeof Transport>, never, Scope.Scope> = Effect.gen(
  function* () {
    const fork = Runtime.runFork(yield* Effect.runtime());
    const loop = yield* FiberLoop.make;
    const deadlinesOf = (what: string) =>
      Effect.acquireRelease(
        Effect.sync(
          () =>
            new Deadlines(loop, (defect) =>
              fork(Effect.logError(`the deadline of a ${what} failed by a defect`, defect)),
            ),
        ),
        (deadlines) => Effect.sync(() => deadlines.close()),
      );
    const connectDeadlines = yield* deadlinesOf("connect");
    // Apart, so that the shorter of the two limits is not sorted in behind everybody with the longer one.
    const headDeadlines = yield* deadlinesOf("head");
    const shared: Shared = { iterations: new LoopIterations(), suspects: new Set() };
    yield* Effect.forkScoped(Effect.repeat(findResets(shared), Schedule.spaced(resetInterval)));
    const connect = connectWithin(connectDeadlines, SourceTurns.of(yield* SourceAddresses, net.isIPv6));
    return makeTransport({
      name: "node",
      faults: () => 0,
      listen,
      // A program that accepts sees each probe: Node has no option that keeps the handshake from being completed.
      probe: (target, options, answered, failed) =>
        connect(
          target,
          options,
          (connection) => {
            connection.close();
            answered();
          },
          failed,
        ),
      connect,
      head: headWithin(headDeadlines),
      watch: (client, broken) => {
        const watching = new NodeResetWatch(own(client), shared.suspects, broken);
        watching.start();
        return () => watching.stop();
      },
      relay: relayWith(shared),
    });
  },
);

/**
 * Node's own sockets.
 *
 * @example
 * ```ts
 * import { Layer } from "effect"
 * import { BackendRegistry, LoadBalancer, NodeTransport } from "zeitwork-load-balancer"
 *
 * const balancer = LoadBalancer.layer({ port: 8082 }).pipe(
 *   Layer.provide([BackendRegistry.layer({}), NodeTransport.layer]),
 * )
 * ```
 *
 * @since 0.2.0
 * @category layers
 */
export const layer: Layer.Layer<Transport> = Layer.scoped(Transport, make);
