/**
 * Servers that say who they are, and clients that ask them through the load balancer.
 */
import { once } from "node:events";
import * as net from "node:net";
import { Effect, type Scope } from "effect";
import * as Ports from "./Ports.js";
import { type Program, untilTrue } from "./RunningProgram.js";
import { type Received, receive, serve } from "./Sockets.js";

/** Sends its name to whoever connects and says something, and echoes from then on. */
export interface Named {
  readonly name: string;
  readonly port: number;
  /** Open connections on which something was said: health checks say nothing. */
  readonly clients: ReadonlySet<net.Socket>;
}

export const named = (name: string): Effect.Effect<Named, never, Scope.Scope> =>
  Effect.suspend(() => {
    const clients = new Set<net.Socket>();
    return Effect.map(
      serve((socket) => {
        socket.once("data", () => {
          clients.add(socket);
          socket.once("close", () => clients.delete(socket));
          socket.write(`${name}\n`);
          socket.on("data", (chunk) => socket.write(chunk));
        });
        socket.on("end", () => socket.end());
      }),
      ({ port }) => ({ name, port, clients }),
    );
  });

/** A server that sends its name, and can stop and come back on the same port. */
export const restartable = (
  name: string,
): Effect.Effect<
  {
    readonly port: number;
    readonly stop: Effect.Effect<void>;
    readonly start: Effect.Effect<void>;
    /** It listens no more, and keeps the connections that it has. */
    readonly deafen: Effect.Effect<void>;
  },
  never,
  Scope.Scope
> =>
  Effect.flatMap(Ports.unused, (port) =>
    Effect.acquireRelease(
      Effect.promise(async () => {
        const sockets = new Set<net.Socket>();
        const server = net.createServer((socket) => {
          sockets.add(socket);
          socket.on("error", () => {});
          socket.on("close", () => sockets.delete(socket));
          socket.once("data", () => socket.write(`${name}\n`));
        });
        const start = async () => {
          server.listen(port, "127.0.0.1");
          await once(server, "listening");
        };
        let closed: Promise<unknown> = Promise.resolve();
        const deafen = () => {
          if (!server.listening) return;
          closed = once(server, "close");
          server.close();
        };
        const stop = async () => {
          deafen();
          for (const socket of sockets) socket.destroy();
          await closed;
        };
        await start();
        return {
          port,
          stop: Effect.promise(stop),
          start: Effect.promise(start),
          deafen: Effect.sync(deafen),
        };
      }),
      ({ stop }) => stop,
    ),
  );

/** Waits until a backend has been checked so many times more. */
export const checkedAgain = (program: Program, address: string, times: number): Effect.Effect<void> =>
  Effect.suspend(() => {
    const seen = new Set<string | null>();
    return untilTrue(
      Effect.map(program.backends, (list) => {
        const found = list.find((backend) => backend.address === address);
        if (found !== undefined) seen.add(found.last_check);
        return seen.size > times;
      }),
    );
  });

/** Backends as the setting BACKENDS wants them. */
export const listOf = (...backends: ReadonlyArray<{ readonly port: number }>): string =>
  backends.map(({ port }) => `127.0.0.1:${port}`).join(",");

export interface Talk {
  readonly socket: net.Socket;
  /** The backend's name. */
  readonly name: string;
  /** Sends a word and waits for it to come back. */
  readonly says: (word: string) => Effect.Effect<string>;
}

const nextData = async (socket: net.Socket): Promise<string> => {
  const [chunk] = await once(socket, "data");
  return String(chunk);
};

/** Connects, says a word and learns the backend's name. */
export const talk = (port: number, localAddress?: string): Effect.Effect<Talk, never, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.promise(async () => {
        const socket = net.connect({
          host: "127.0.0.1",
          port,
          allowHalfOpen: true,
          ...(localAddress === undefined ? {} : { localAddress }),
        });
        await once(socket, "connect");
        const first = nextData(socket);
        socket.write("hello");
        const name = (await first).trim();
        socket.on("error", () => {});
        return { socket, name };
      }),
      ({ socket }) => Effect.sync(() => socket.destroy()),
    ),
    ({ socket, name }) => ({
      socket,
      name,
      says: (word) =>
        Effect.promise(async () => {
          const answer = nextData(socket);
          socket.write(word);
          return answer;
        }),
    }),
  );

/** Which backend one connection reaches that is closed in order. */
export const ask = (port: number, localAddress?: string): Effect.Effect<string> =>
  Effect.scoped(
    Effect.gen(function* () {
      const { socket, name } = yield* talk(port, localAddress);
      const rest = receive(socket);
      socket.end();
      yield* Effect.promise(() => rest);
      return name;
    }),
  );

/** Connects, sends `text`, and reads to the end: in order, or by a reset. */
export const exchange = (
  port: number,
  text: string | undefined,
): Effect.Effect<Received, never, Scope.Scope> =>
  Effect.flatMap(
    Effect.acquireRelease(
      Effect.sync(() => {
        const socket = net.connect({ host: "127.0.0.1", port, allowHalfOpen: true });
        const received = receive(socket);
        if (text !== undefined) socket.write(text);
        return { socket, received };
      }),
      ({ socket }) => Effect.sync(() => socket.destroy()),
    ),
    ({ received }) => Effect.promise(() => received),
  );

/** Whether a connection is refused. */
export const refuses = (port: number): Effect.Effect<boolean> =>
  Effect.promise(
    () =>
      new Promise((resolve) => {
        const socket = net.connect({ host: "127.0.0.1", port });
        socket.once("connect", () => {
          socket.destroy();
          resolve(false);
        });
        socket.once("error", (error: NodeJS.ErrnoException) => resolve(error.code === "ECONNREFUSED"));
      }),
  );
