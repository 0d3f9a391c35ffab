/**
 * The portable transport: Node's own sockets. Bytes go from one socket to the other in plain callbacks; no fiber
 * sees a chunk. Effect's socket modules are not used here because they neither keep half-close nor slow a
 * sender down.
 */
import * as net from "node:net";
import { Effect, Layer } from "effect";
import * as Descriptors from "../net/Descriptors.js";
import { canonical } from "../net/IpAddress.js";
import { failureOf, ListenError } from "../net/ListenError.js";
import type { Meter } from "../net/Meter.js";
import type { SocketAddress } from "../net/SocketAddress.js";
import {
  AcceptError,
  ConnectError,
  type Connection,
  connectFailureOf,
  type Listener,
  type ListenOptions,
  type Mechanism,
  make,
  probeByConnecting,
  type RelayEnd,
  type RelayOutcome,
  Transport,
} from "./Transport.js";

/** What one direction of one connection may hold back while its reader is slow, in bytes; one chunk may exceed it. */
const buffered = 128 * 1024;

/** How long a connection is silent before the kernel asks whether its peer still lives. */
const keepAliveMillis = 60_000;

const codeOf = (error: Error): string | undefined =>
  "code" in error && typeof error.code === "string" ? error.code : undefined;

class NodeConnection implements Connection {
  constructor(
    readonly socket: net.Socket,
    readonly remote: SocketAddress,
  ) {
    // A socket without an error listener ends the process when its peer resets it.
    socket.on("error", ignore);
  }
  readonly close = (): void => this.socket.destroySoon();
  readonly reset = (): void => reset(this.socket);
}

const ignore = (): void => {};

const nothing = new Uint8Array();

// Numbers the turns of the loop in which something is read.
let turn = 0;
let counting = false;
const nextTurn = (): void => {
  counting = false;
  turn += 1;
};
const thisTurn = (): number => {
  if (!counting) {
    counting = true;
    setImmediate(nextTurn);
  }
  return turn;
};

/**
 * Breaks it off. Node is refused that while it sends FIN (EINVAL), and then forgets the descriptor without closing it:
 * so it waits until that is done, which is in the next turn of the loop.
 */
const reset = (socket: net.Socket): void => {
  const sendsFin = socket.writableEnded && !socket.writableFinished && socket.writableLength === 0;
  if (sendsFin) socket.once("finish", () => socket.resetAndDestroy());
  else socket.resetAndDestroy();
};

/**
 * Two sockets and what is between them. `data` and `drain` are the hot path: a write that the kernel does not
 * take whole waits in the socket's own buffer, and its sender is paused until that is empty.
 */
class Relay {
  #ended: RelayEnd | undefined;
  #failed = false;
  #open = 2;

  constructor(
    readonly client: net.Socket,
    readonly backend: net.Socket,
    readonly meter: Meter,
    readonly onEnd: (outcome: RelayOutcome) => void,
  ) {
    this.#attach(client, backend, "received", "client-closed", "client-reset");
    this.#attach(backend, client, "sent", "backend-closed", "backend-reset");
    client.resume();
    backend.resume();
  }

  #attach(from: net.Socket, to: net.Socket, counter: keyof Meter, closed: RelayEnd, broken: RelayEnd): void {
    if (from.destroyed) {
      // It broke between being connected and being relayed: its events are over.
      this.#open -= 1;
      this.#fail(broken, to);
      if (this.#open === 0) queueMicrotask(() => this.#end());
      return;
    }
    const { meter } = this;
    let lastRead = -1;
    let paused = false;
    from.on("data", (chunk) => {
      lastRead = thisTurn();
      meter[counter] += chunk.length;
      paused = !to.write(chunk);
      if (paused) from.pause();
    });
    from.on("drain", () => to.resume());
    from.on("end", () => {
      this.#ended ??= closed;
      // Node tells of an end where a reset comes right behind the last bytes, in the turn in which it reads them (or
      // later, if it was paused then); an end it finds in a later one. A write of nothing tells them apart: it fails
      // after a reset. It cannot be asked of a side that was sent FIN, and would wait behind what is unsent.
      const sameTurn = paused || lastRead === turn;
      if (!sameTurn || from.writableEnded || from.writableLength > 0) to.end();
      else {
        from.write(nothing, (error) => {
          if (error == null) to.end();
        });
      }
    });
    from.on("error", () => this.#fail(broken, to));
    from.on("close", () => {
      // V8's minor collections do not free Node's sockets (seen in Node 20 and 24): all that their listeners reach
      // would stay with them, every connection with its fiber's work, until a major one.
      from.removeAllListeners();
      from.on("error", ignore);
      this.#open -= 1;
      if (this.#open === 0) this.#end();
    });
  }

  #fail(reason: RelayEnd, other: net.Socket): void {
    if (!this.#failed) this.#ended = reason;
    this.#failed = true;
    reset(other);
  }

  #end(): void {
    this.onEnd({
      // Nothing is known after an abort alone, and nobody asks then.
      end: this.#ended ?? "client-reset",
      received: this.client.bytesRead,
      sent: this.backend.bytesRead,
    });
  }

  abort(): void {
    reset(this.client);
    reset(this.backend);
  }
}

// Only connections that this transport made come back to it.
const socketOf = (connection: Connection): net.Socket => {
  if (connection instanceof NodeConnection) return connection.socket;
  throw new TypeError("a connection of another transport was given to the node transport");
};

const listen = ({ host, port, inherited, backlog, onConnection, onAcceptError }: ListenOptions) =>
  Effect.acquireRelease(
    Effect.async<{ readonly server: net.Server; readonly listener: Listener }, ListenError>((resume) => {
      const server = net.createServer({
        allowHalfOpen: true,
        // What a client sends early waits in the kernel until there is a backend to send it to.
        pauseOnConnect: true,
        noDelay: true,
        keepAlive: true,
        keepAliveInitialDelay: keepAliveMillis,
        highWaterMark: buffered,
      });
      // Beyond its limit Node closes a new connection without telling anybody; this way it says so.
      const max = Descriptors.capacity(Descriptors.read());
      if (max !== undefined) server.maxConnections = max;
      server.on("connection", (socket) => {
        onConnection(
          new NodeConnection(socket, {
            host: canonical(socket.remoteAddress ?? ""),
            port: socket.remotePort ?? 0,
          }),
        );
      });
      server.on("drop", () => onAcceptError(new AcceptError({ code: "EMFILE" })));
      server.once("error", (error) => {
        const code = codeOf(error);
        resume(
          Effect.fail(
            new ListenError({ reason: failureOf(code), address: { host: host ?? "::", port }, code }),
          ),
        );
      });
      const where =
        inherited === undefined ? { ...(host === undefined ? {} : { host }), port } : { fd: inherited };
      server.listen({ ...where, backlog }, () => {
        server.removeAllListeners("error");
        server.on("error", (error) =>
          onAcceptError(new AcceptError({ code: codeOf(error) ?? error.message })),
        );
        const bound = server.address();
        const address =
          bound === null || typeof bound === "string"
            ? { host: host ?? "::", port }
            : { host: bound.address, port: bound.port };
        resume(Effect.succeed({ server, listener: { address, close: close(server) } }));
      });
    }),
    ({ listener }) => listener.close,
  ).pipe(Effect.map(({ listener }) => listener));

// Not waiting for the server's "close" event: that comes when the last accepted connection has ended.
const close = (server: net.Server): Effect.Effect<void> =>
  Effect.sync(() => {
    server.close();
  });

const connect: Mechanism["connect"] = (address, { timeoutMillis }, made, failed) => {
  const options: net.NetConnectOpts & { readonly highWaterMark: number } = {
    host: address.host,
    port: address.port,
    allowHalfOpen: true,
    noDelay: true,
    keepAlive: true,
    keepAliveInitialDelay: keepAliveMillis,
    // Passed on to the stream, which the types leave out.
    highWaterMark: buffered,
  };
  const socket = net.connect(options);
  // Node keeps all timers of one duration in one list, so this is a shared timer and not one per connection.
  const timer = setTimeout(() => fail("timeout", undefined), timeoutMillis);
  const settle = (): void => {
    clearTimeout(timer);
    socket.off("error", onError);
    socket.off("connect", onConnect);
  };
  const fail = (reason: ConnectError["reason"], code: string | undefined): void => {
    settle();
    socket.on("error", ignore);
    socket.destroy();
    failed(new ConnectError({ reason, address, code }));
  };
  const onError = (error: Error): void => {
    const code = codeOf(error);
    fail(connectFailureOf(code), code);
  };
  const onConnect = (): void => {
    settle();
    made(new NodeConnection(socket, address));
  };
  socket.on("error", onError);
  socket.on("connect", onConnect);
  return () => {
    settle();
    socket.on("error", ignore);
    socket.destroy();
  };
};

const relay: Mechanism["relay"] = (client, backend, meter, ended) => {
  const running = new Relay(socketOf(client), socketOf(backend), meter, ended);
  return () => running.abort();
};

/** Node's own sockets: runs wherever Node runs, with no privilege and nothing to install. */
export const layer: Layer.Layer<Transport> = Layer.succeed(
  Transport,
  make({ name: "node", faults: () => 0, listen, probe: probeByConnecting(connect), connect, relay }),
);
