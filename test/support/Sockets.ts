/**
 * Plain TCP clients and servers for tests, as Effects: everything they open is closed with the scope.
 */
import assert from "node:assert";
import { once } from "node:events";
import { readdirSync } from "node:fs";
import * as net from "node:net";
import { Effect, type Scope } from "effect";

/** What a socket received until it ended, and how it ended. */
export interface Received {
  readonly bytes: Buffer;
  readonly end: "fin" | "reset";
}

/** Reads to the end. To be called in the turn in which the socket appears, or nothing listens for its errors. */
export const receive = (socket: net.Socket): Promise<Received> =>
  new Promise((resolve) => {
    const chunks: Array<Buffer> = [];
    const finish = (end: Received["end"]) => resolve({ bytes: Buffer.concat(chunks), end });
    socket.on("data", (chunk) => chunks.push(chunk));
    socket.once("end", () => finish("fin"));
    socket.once("error", () => finish("reset"));
    socket.once("close", () => finish("reset"));
  });

/** A server on a free loopback port that hands every socket to `handle`, half-open and not yet read. */
export const serve = (
  handle: (socket: net.Socket) => void,
): Effect.Effect<{ readonly port: number; readonly sockets: ReadonlySet<net.Socket> }, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const sockets = new Set<net.Socket>();
      const server = net.createServer({ allowHalfOpen: true }, (socket) => {
        sockets.add(socket);
        socket.on("error", () => {});
        socket.on("close", () => sockets.delete(socket));
        handle(socket);
      });
      server.listen(0, "127.0.0.1");
      await once(server, "listening");
      return { server, sockets, port: (server.address() as net.AddressInfo).port };
    }),
    ({ server, sockets }) =>
      Effect.promise(async () => {
        const closed = once(server, "close");
        server.close();
        for (const socket of sockets) socket.destroy();
        await closed;
      }),
  );

/** A connected client, half-open and not yet read. */
export const dial = (port: number): Effect.Effect<net.Socket, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const socket = net.connect({ host: "127.0.0.1", port, allowHalfOpen: true });
      socket.on("error", () => {});
      await once(socket, "connect");
      return socket;
    }),
    (socket) => Effect.sync(() => socket.destroy()),
  );

/** Sends so many bytes, a multiple of 1 MiB, and then the end. */
export const sendBulk = (socket: net.Socket, bytes: number): void => {
  const chunk = Buffer.alloc(1024 * 1024, "x");
  let left = bytes / chunk.length;
  const send = (): void => {
    while (left > 0) {
      left -= 1;
      if (!socket.write(chunk)) return;
    }
    socket.end();
  };
  socket.on("drain", send);
  send();
};

/** Descriptors that this process has open. */
export const descriptors = (): number => readdirSync("/proc/self/fd").length;

/** What is not so after this long is taken never to be: two thirds of a test's own limit, which would not say what. */
const longestMillis = 120_000;

/** Waits until something is so, and fails with the text of the condition where it never is. */
export const eventually = (condition: () => boolean): Effect.Effect<void> =>
  Effect.promise(async () => {
    const began = performance.now();
    while (!condition()) {
      if (performance.now() - began > longestMillis) {
        assert.fail(`after ${longestMillis / 1000} s it is still not so that ${condition}`);
      }
      await new Promise((resolve) => setImmediate(resolve));
    }
  });
