/**
 * Whether a transport works on this system: a few megabytes to and fro, through a relay of its own.
 */
import { once } from "node:events";
import * as net from "node:net";
import { type Context, Duration, Effect, FiberSet } from "effect";
import type { Transport } from "../Transport.js";

/** Enough for a direction to turn bulky and to fill every buffer on its way. */
const size = 4 * 1024 * 1024;

/** A good one takes some hundredths of a second. */
const limit = Duration.seconds(5);

const pattern = (): Buffer => {
  const bytes = Buffer.alloc(size);
  // 251 is prime: no block of a power of two is equal to the next.
  for (let i = 0; i < size; i++) bytes[i] = i % 251;
  return bytes;
};

const echo = Effect.acquireRelease(
  Effect.tryPromise(async () => {
    const server = net.createServer({ allowHalfOpen: true }, (socket) => {
      socket.on("error", () => socket.destroy());
      socket.pipe(socket);
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    return server;
  }),
  (server) =>
    Effect.sync(() => {
      server.close();
    }),
);

const dial = (port: number) =>
  Effect.acquireRelease(
    Effect.tryPromise(async () => {
      const socket = net.connect({ host: "127.0.0.1", port, allowHalfOpen: true });
      await once(socket, "connect");
      return socket;
    }),
    (socket) =>
      Effect.sync(() => {
        socket.on("error", () => {});
        socket.destroy();
      }),
  );

/** Fails with what was wrong, in words. */
export const selfTest = (transport: Context.Tag.Service<typeof Transport>): Effect.Effect<void, string> =>
  Effect.scoped(
    Effect.gen(function* () {
      const server = yield* echo;
      const address = server.address();
      if (address === null || typeof address === "string") return yield* Effect.fail("no loopback address");
      const fork = yield* FiberSet.makeRuntime();
      const listener = yield* transport.listen({
        host: "127.0.0.1",
        port: 0,
        backlog: 1,
        onConnection: (client) => {
          const relay = transport.forward(
            client,
            { host: "127.0.0.1", port: address.port },
            { timeoutMillis: Duration.toMillis(limit) },
            { received: 0, sent: 0 },
          );
          fork(Effect.onError(relay, () => Effect.sync(() => client.reset())));
        },
        onAcceptError: () => {},
      });
      const client = yield* dial(listener.address.port);
      const sent = pattern();
      const received = yield* Effect.tryPromise(async () => {
        const chunks: Array<Buffer> = [];
        client.on("data", (chunk) => chunks.push(chunk));
        client.end(sent);
        await once(client, "end");
        return Buffer.concat(chunks);
      });
      if (received.length !== size)
        return yield* Effect.fail(`${received.length} of ${size} bytes came back`);
      if (!received.equals(sent)) return yield* Effect.fail("other bytes came back than were sent");
    }),
  ).pipe(
    Effect.timeoutFail({
      duration: limit,
      onTimeout: () => `nothing came back in ${Duration.format(limit)}`,
    }),
    Effect.mapError((error) =>
      typeof error === "string"
        ? error
        : error._tag === "UnknownException"
          ? String(error.error)
          : error.message,
    ),
  );
