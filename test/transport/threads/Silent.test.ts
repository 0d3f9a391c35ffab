import { spawnSync } from "node:child_process";
import { closeSync, constants, openSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { assert, describe, it } from "@effect/vitest";
import { Effect, Fiber } from "effect";
import { layerThreads } from "../../../src/transport/linux/LinuxTransport.js";
import { type Connection, Transport } from "../../../src/transport/Transport.js";
import * as CapturedLog from "../../support/CapturedLog.js";
import { blockableDataThread, dataThreadAfter, dataThreadFile } from "../../support/DataThreadFile.js";
import { dial, eventually, serve } from "../../support/Sockets.js";

const file = await dataThreadFile();
const folder = join(file, "..");
const blocking = join(folder, "blocking");

describe("a data thread that takes no turns", () => {
  it.scopedLive(
    "is told of once, with what it does, and once more when it answers; others go on",
    () =>
      Effect.gen(function* () {
        const log = yield* CapturedLog.make;
        yield* Effect.gen(function* () {
          const transport = yield* Transport;
          const threads = () => transport.dataThreads?.() ?? [];
          const backend = yield* serve((socket) => socket.pipe(socket));
          const fibers: Array<Fiber.RuntimeFiber<unknown, unknown>> = [];
          const listener = yield* transport.listen({
            host: "127.0.0.1",
            port: 0,
            backlog: 100,
            onAcceptError: () => {},
            onConnection: (client: Connection) => {
              const target = { host: "127.0.0.1", port: backend.port };
              const forwarded = transport.forward(
                client,
                target,
                { timeoutMillis: 60_000 },
                { received: 0, sent: 0 },
              );
              fibers.push(Effect.runFork(forwarded));
            },
          });
          yield* Effect.addFinalizer(() => Fiber.interruptAll(fibers));
          let echoed = 0;
          const client = Effect.map(dial(listener.address.port), (socket) => {
            socket.on("data", (bytes) => {
              echoed += bytes.length;
            });
            return socket;
          });
          // One for each thread.
          const first = [yield* client, yield* client];
          for (const socket of first) socket.write("ten bytes.");
          yield* eventually(() => echoed === 20);
          assert.isTrue(threads().every(({ connections, responsive }) => connections === 1 && responsive));

          yield* Effect.addFinalizer(() => Effect.sync(() => rmSync(blocking, { force: true })));
          writeFileSync(blocking, "data thread 0");
          const said = (message: string) => log.lines.filter((line) => line.message === message);
          yield* eventually(() => said("a data thread does not answer").length === 1);
          const blocked = threads().find(({ name }) => name === "data thread 0");
          assert.isFalse(blocked?.responsive);
          assert.isAtLeast(Number(blocked?.silentSeconds), 5);
          assert.strictEqual(blocked?.silences, 1);

          // It is given no more; the other thread goes on.
          const later = [yield* client, yield* client, yield* client];
          for (const socket of [...first, ...later]) socket.write("ten bytes.");
          yield* eventually(() => echoed === 60);
          assert.strictEqual(threads().find(({ responsive }) => responsive)?.connections, 4);

          rmSync(blocking);
          yield* eventually(() => echoed === 70 && said("a data thread answers again").length === 1);
          const [silent] = said("a data thread does not answer");
          const [again] = said("a data thread answers again");
          assert.strictEqual(silent?.level, "WARN");
          assert.strictEqual(silent?.annotations["thread"], "data thread 0");
          assert.include(["orders", "timers", "relaying"], silent?.annotations["phase"]);
          assert.isAtLeast(Number(silent?.annotations["seconds"]), 5);
          assert.strictEqual(again?.annotations["thread"], "data thread 0");
          assert.isAtLeast(Number(again?.annotations["seconds"]), 5);
          assert.isTrue(threads().every(({ responsive }) => responsive));
        }).pipe(
          Effect.scoped,
          Effect.provide(layerThreads({ threads: 2, file: blockableDataThread(file, blocking) })),
          Effect.provide(log.layer),
          Effect.orDie,
        );
        assert.lengthOf(
          log.lines.filter(({ message }) => message === "a data thread does not answer"),
          1,
        );
      }),
    120_000,
  );

  it.scopedLive(
    "and cannot be ended, because a system call blocks it, does not hold up the end of the transport",
    () =>
      Effect.gen(function* () {
        const log = yield* CapturedLog.make;
        const fifo = join(folder, "fifo");
        assert.strictEqual(spawnSync("mkfifo", [fifo]).status, 0);
        // Opening it to read waits for somebody who writes.
        const path = dataThreadAfter(
          `{
             const { existsSync, openSync } = process.getBuiltinModule("node:fs");
             const now = performance.now.bind(performance);
             performance.now = () => { if (existsSync(${JSON.stringify(blocking)})) openSync(${JSON.stringify(fifo)}, "r"); return now(); };
           }`,
          file,
          "stuck",
        );
        // It goes on then, and ends.
        yield* Effect.addFinalizer(() =>
          Effect.sync(() => {
            rmSync(blocking, { force: true });
            try {
              closeSync(openSync(fifo, constants.O_WRONLY | constants.O_NONBLOCK));
            } catch {
              // Nobody waits.
            }
          }),
        );
        yield* Effect.gen(function* () {
          const transport = yield* Transport;
          writeFileSync(blocking, "");
          yield* eventually(() => transport.dataThreads?.().every(({ responsive }) => !responsive) ?? true);
        }).pipe(
          Effect.provide(layerThreads({ threads: 1, file: path })),
          Effect.provide(log.layer),
          Effect.orDie,
        );
        const lines = log.lines.filter(({ message }) => message.startsWith("a data thread cannot be ended"));
        assert.deepStrictEqual(
          lines.map(({ annotations, level }) => [annotations["thread"], level]),
          [[0, "ERROR"]],
        );
      }),
    120_000,
  );
});
