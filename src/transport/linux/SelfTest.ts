/**
 * Whether a transport works on this system: a few megabytes to and fro, through a relay of its own.
 */
import { once } from "node:events";
import * as net from "node:net";
import { type Context, Duration, Effect, FiberSet } from "effect";
import type { Transport } from "../Transport.js";

/** Prime: no part of a length that is a power of two is equal to the next. */
const period = 251;

/** What is sent again and again, and compared with what comes back: longer than what Node reads at once (64 KiB). */
const block = Buffer.alloc(
  period * 512,
  Uint8Array.from({ length: period }, (_, index) => index),
);

/** Enough for a direction to turn bulky and to fill every buffer on its way: 4 MiB. */
const blocks = 33;
const size = blocks * block.length;

/** A good one takes some hundredths of a second. */
const limit = Duration.seconds(5);

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
      // Compared as it comes: kept, it would be memory that the process does not give back for a long time.
      const { length, same } = yield* Effect.tryPromise(async () => {
        const received = { length: 0, same: true };
        client.on("data", (chunk: Buffer) => {
          const expected = block.subarray(received.length % period);
          received.same &&= chunk.equals(expected.subarray(0, chunk.length));
          received.length += chunk.length;
        });
        for (let sent = 0; sent < blocks; sent++) client.write(block);
        client.end();
        await once(client, "end");
        return received;
      });
      if (length !== size) return yield* Effect.fail(`${length} of ${size} bytes came back`);
      if (!same) return yield* Effect.fail("other bytes came back than were sent");
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
