/**
 * The program stands still, as in a pause of its machine, and readers stand still: neither costs anybody anything.
 */
import { once } from "node:events";
import { assert, describe, it } from "@effect/vitest";
import { Effect } from "effect";
import * as Pipes from "../support/Pipes.js";
import * as Program from "../support/RunningProgram.js";
import { dial, eventually, sendBulk, serve } from "../support/Sockets.js";
import * as StoppableServer from "../support/StoppableServer.js";

/** Connections that its kernel holds for it: enough for all clients of the test. */
const backlog = 16;

const open = (program: Program.Program) =>
  Effect.map(
    program.get("/status"),
    ({ body }) => (body as { readonly open: number }) /* its contract */.open,
  );

const timeoutSeconds = 10;
const clients = 10;

describe.runIf(process.platform === "linux")("a stall of the program", () => {
  for (const transport of Program.transports) {
    it.scopedLive(`times out nothing that was answered meanwhile, on ${transport}`, () =>
      Effect.gen(function* () {
        const backend = yield* StoppableServer.start(backlog);
        const program = yield* Program.start(transport, {
          BACKENDS: `127.0.0.1:${backend.port}`,
          CONNECT_TIMEOUT: `${timeoutSeconds}s`,
          CONNECT_RETRIES: "0",
          HEALTH_CHECK_TIMEOUT: `${timeoutSeconds}s`,
          // One that timed out would take it down.
          HEALTH_CHECK_FALL: "1",
        });
        yield* program.healthy(1);

        yield* backend.stop;
        const answers = yield* Effect.forEach(Array.from({ length: clients }), () =>
          Effect.map(dial(program.port), (socket) => {
            let text = "";
            socket.setEncoding("latin1").on("data", (chunk: string) => {
              text += chunk;
            });
            socket.write("hello");
            return { socket, text: () => text };
          }),
        );
        yield* Program.untilTrue(Effect.map(open(program), (count) => count === clients));
        yield* program.signal("SIGSTOP");
        yield* backend.resume;
        // The stall: longer than a connect and a probe may take.
        yield* Effect.sleep(`${timeoutSeconds + 1} seconds`);
        yield* Program.untilTrue(Effect.sync(() => StoppableServer.established(backend.port) >= clients));
        yield* program.signal("SIGCONT");

        yield* eventually(() => answers.every(({ socket, text }) => text() === "served" || socket.closed));
        assert.deepStrictEqual(
          answers.map(({ text }) => text()),
          answers.map(() => "served"),
        );
        assert.lengthOf(program.logged("backend could not be connected to"), 0);
        assert.lengthOf(program.logged("backend is down"), 0);
      }),
    );
  }
});

/** More than all buffers between a sender and a reader hold. */
const bulkBytes = 64 * 1024 * 1024;

// Node's sockets use no pipes.
for (const transport of Program.transports.filter((name) => name !== "node")) {
  describe(`readers that stand still, on ${transport}`, () => {
    it.scopedLive("keep 64 KiB each, and no pipes that others need", () =>
      Effect.gen(function* () {
        const bulk = yield* serve((socket) => {
          socket.once("data", () => sendBulk(socket, bulkBytes));
          socket.resume();
        });
        const program = yield* Program.start(transport, {
          BACKENDS: `127.0.0.1:${bulk.port}`,
          HEALTH_CHECK_INTERVAL: "1h",
        });
        yield* program.healthy(1);
        // More than there are pipes for.
        const readers = yield* Effect.forEach(Array.from({ length: 80 }), () => dial(program.port));
        for (const reader of readers) reader.write("go");
        const senders = () => [...bulk.sockets].filter(({ bytesRead }) => bytesRead > 0);
        yield* eventually(
          () =>
            senders().length === readers.length &&
            senders().every(({ writableLength }) => writableLength > 0),
        );
        // Until all of it has come to rest.
        const before = yield* Program.until(
          Effect.sync(() => {
            const held = Pipes.of(program.pid);
            const filled = [...held.values()].filter((bytes) => bytes > 0);
            return filled.length >= 40 && Math.max(...filled) <= 64 * 1024 ? held : undefined;
          }),
        );

        // Whoever reads on has a pipe, in which the bytes change.
        const moves = (): boolean =>
          [...Pipes.of(program.pid)].some(([pipe, bytes]) => bytes !== before.get(pipe));
        const [first] = readers;
        const reads = Effect.gen(function* () {
          const reader = yield* dial(program.port);
          reader.resume().write("go");
          yield* Effect.promise(() => once(reader, "end"));
        });
        yield* Effect.raceFirst(
          Program.untilTrue(Effect.sync(moves)),
          Effect.forever(Effect.scoped(reads)),
        ).pipe(
          Effect.timeoutFail({
            duration: "60 seconds",
            onTimeout: () => new Error("one who reads has no pipe"),
          }),
        );

        // And those who stood still get all of it.
        first?.resume();
        yield* Effect.promise(async () => first !== undefined && once(first, "end"));
        assert.strictEqual(first?.bytesRead, bulkBytes);
      }),
    );
  });
}
