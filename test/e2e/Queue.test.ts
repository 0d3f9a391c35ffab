/**
 * The queue of clients that find all backends full, in the built program and over its transports.
 */
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { assert, describe, it } from "@effect/vitest";
import { Effect } from "effect";
import { exchange, restartable } from "../support/Backends.js";
import * as Program from "../support/RunningProgram.js";
import { dial, eventually, receive, serve } from "../support/Sockets.js";

/** A backend that answers with what it is sent first, and counts those that have said something. */
const counting = Effect.gen(function* () {
  const counted = { open: 0, most: 0, total: 0 };
  const { port, sockets } = yield* serve((socket) => {
    socket.once("data", (word) => {
      counted.open += 1;
      counted.total += 1;
      counted.most = Math.max(counted.most, counted.open);
      socket.once("close", () => {
        counted.open -= 1;
      });
      socket.write(word);
    });
    socket.on("end", () => socket.end());
  });
  return { counted, port, sockets };
});

/** A client that has said a word. */
const come = (port: number, word: string) =>
  Effect.map(dial(port), (socket) => {
    const client = { socket, answer: "", end: "" };
    socket.on("data", (bytes) => {
      client.answer += String(bytes);
    });
    socket.once("end", () => {
      client.end ||= "fin";
    });
    socket.once("error", () => {
      client.end ||= "reset";
    });
    socket.write(word);
    return client;
  });

/** How many wait. */
const queued = (program: Program.Program, count: number) =>
  Program.untilTrue(
    Effect.map(
      program.get("/status"),
      ({ body }) => (body as { readonly queued: number }) /* its contract */.queued === count,
    ),
  );

for (const [name, transport, threads] of Program.transportsAndThreads) {
  describe(`the queue on ${name}`, () => {
    it.scopedLive("serves those who wait in the order in which they came, and none who has broken off", () =>
      Effect.gen(function* () {
        const { counted, port } = yield* counting;
        const program = yield* Program.start(transport, {
          ...threads,
          BACKENDS: `127.0.0.1:${port}`,
          MAX_CONNECTIONS_PER_BACKEND: "1",
          QUEUE_TIMEOUT: "1h",
          QUEUE_LIMIT: "4",
        });
        yield* program.healthy(1);
        const clients = [yield* come(program.port, "0")];
        yield* eventually(() => clients[0]?.answer === "0");
        for (let n = 1; n <= 4; n++) {
          clients.push(yield* come(program.port, String(n)));
          yield* queued(program, n);
        }
        const refused = yield* exchange(program.port, "5");
        assert.strictEqual(refused.end, "reset");
        yield* program.awaitLogged("connection", { code: "queue-full/choosing" });
        // The second breaks off, and the third has no more to say.
        clients[2]?.socket.resetAndDestroy();
        yield* queued(program, 3);
        yield* program.awaitLogged("connection", { code: "client-reset/queued" });
        clients[3]?.socket.end();
        const [first, second, , third, fourth] = clients;
        for (const [leaves, comes] of [
          [first, second],
          [second, third],
        ] as const) {
          leaves?.socket.end();
          yield* eventually(() => comes?.answer !== "");
        }
        yield* eventually(() => third?.end === "fin");
        yield* eventually(() => fourth?.answer === "4");
        assert.deepStrictEqual(
          clients.map(({ answer }) => answer),
          ["0", "1", "", "3", "4"],
        );
        assert.deepInclude(counted, { most: 1, total: 4 });
        yield* queued(program, 0);
      }),
    );

    it.scopedLive("resets who has waited for too long", () =>
      Effect.gen(function* () {
        const { port } = yield* counting;
        const program = yield* Program.start(transport, {
          ...threads,
          BACKENDS: `127.0.0.1:${port}`,
          MAX_CONNECTIONS_PER_BACKEND: "1",
          QUEUE_TIMEOUT: "300ms",
        });
        yield* program.healthy(1);
        const served = yield* come(program.port, "0");
        yield* eventually(() => served.answer === "0");
        const late = yield* come(program.port, "1");
        yield* eventually(() => late.end === "reset");
        yield* program.awaitLogged("connection", { code: "queue-timeout/queued" });
      }),
    );

    it.scopedLive("resets all who wait when the last backend goes down", () =>
      Effect.gen(function* () {
        const backend = yield* restartable("a");
        const program = yield* Program.start(transport, {
          ...threads,
          BACKENDS: `127.0.0.1:${backend.port}`,
          MAX_CONNECTIONS_PER_BACKEND: "1",
          QUEUE_TIMEOUT: "1h",
          HEALTH_CHECK_FALL: "1",
        });
        yield* program.healthy(1);
        const served = yield* come(program.port, "0");
        yield* eventually(() => served.answer !== "");
        // Its connection outlives the listening socket, so that no place comes free.
        const waiting = [yield* come(program.port, "1"), yield* come(program.port, "2")];
        yield* queued(program, 2);
        yield* backend.deafen;
        yield* eventually(() => waiting.every(({ end }) => end === "reset"));
        yield* program.awaitLogged("connection", { code: "no-backend/choosing" });
        assert.strictEqual(served.end, "");
      }),
    );

    it.scopedLive("keeps the limit of a backend under 5,000 connects at once, and serves each of them", () =>
      Effect.gen(function* () {
        const { counted, port } = yield* counting;
        const program = yield* Program.start(transport, {
          ...threads,
          BACKENDS: `127.0.0.1:${port}`,
          MAX_CONNECTIONS_PER_BACKEND: "50",
          QUEUE_TIMEOUT: "1h",
          QUEUE_LIMIT: "10000",
        });
        yield* program.healthy(1);
        const ends = yield* Effect.acquireUseRelease(
          Effect.sync(() => Array.from({ length: 5_000 }, () => connect(program.port, "127.0.0.1"))),
          (sockets: ReadonlyArray<Socket>) =>
            Effect.promise(() =>
              Promise.all(
                sockets.map(async (socket) => {
                  const received = receive(socket);
                  socket.write("x");
                  await once(socket, "data");
                  socket.end();
                  const { bytes, end } = await received;
                  return `${bytes} ${end}`;
                }),
              ),
            ),
          (sockets) =>
            Effect.sync(() => {
              for (const socket of sockets) socket.destroy();
            }),
        );
        assert.deepStrictEqual([...new Set(ends)], ["x fin"]);
        assert.strictEqual(counted.total, 5_000);
        assert.isAtMost(counted.most, 50);
        yield* queued(program, 0);
      }),
    );
  });
}
