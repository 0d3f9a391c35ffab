import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { assert, describe, it } from "@effect/vitest";
import { Effect, Fiber, Logger } from "effect";
import { layerThreads } from "../../../src/transport/linux/LinuxTransport.js";
import { type Connection, type RelayOutcome, Transport } from "../../../src/transport/Transport.js";
import { dataThreadAfter, dataThreadFile } from "../../support/DataThreadFile.js";
import { descriptors, dial, eventually, receive, serve } from "../../support/Sockets.js";

const file = await dataThreadFile();
const folder = join(file, "..");

/** A data thread that fails, in whatever it is doing, as soon as there is a file at `deadly`. */
const mortal = (deadly: string): string =>
  dataThreadAfter(
    `{
       const { existsSync } = process.getBuiltinModule("node:fs");
       const now = performance.now.bind(performance);
       performance.now = () => { if (existsSync(${JSON.stringify(deadly)})) throw new Error("the end of a test"); return now(); };
     }`,
    file,
    "mortal",
  );

describe("a data thread that dies", () => {
  it.scopedLive(
    "has its connections reset and accounted, leaves no descriptor, and is replaced",
    () =>
      Effect.gen(function* () {
        const deadly = join(folder, "deadly");
        const said: Array<string> = [];
        const times = (line: string) => said.filter((said) => said.startsWith(line)).length;
        const logger = Logger.make(({ annotations, message }) => {
          said.push(`${String(message)} ${JSON.stringify(Object.fromEntries(annotations))}`);
        });
        yield* Effect.gen(function* () {
          const transport = yield* Transport;
          const backend = yield* serve((socket) => socket.pipe(socket));
          const outcomes: Array<RelayOutcome> = [];
          const fibers: Array<Fiber.RuntimeFiber<unknown, unknown>> = [];
          const counts = { received: 0, sent: 0 };
          const listener = yield* transport.listen({
            host: "127.0.0.1",
            port: 0,
            backlog: 100,
            onAcceptError: () => {},
            onConnection: (client: Connection) => {
              const target = { host: "127.0.0.1", port: backend.port };
              const forwarded = transport.forward(client, target, { timeoutMillis: 5_000 }, counts);
              fibers.push(Effect.runFork(Effect.map(forwarded, (outcome) => outcomes.push(outcome))));
            },
          });
          yield* Effect.addFinalizer(() => Fiber.interruptAll(fibers));
          const before = descriptors();
          for (let death = 1; death <= 3; death++) {
            const clients = yield* Effect.all(Array.from({ length: 10 }, () => dial(listener.address.port)));
            const ends = clients.map((client) => receive(client));
            let echoed = 0;
            for (const client of clients) {
              client.on("data", (bytes) => {
                echoed += bytes.length;
              });
              client.write("ten bytes.");
            }
            yield* eventually(() => echoed === 100);
            writeFileSync(deadly, "");
            yield* eventually(() => outcomes.length === 10 * death);
            rmSync(deadly);
            for (const end of yield* Effect.promise(() => Promise.all(ends))) {
              assert.strictEqual(end.end, "reset");
              assert.strictEqual(String(end.bytes), "ten bytes.");
            }
            yield* eventually(() => times("a data thread has ended") === death);
            yield* eventually(() => times("a data thread was started in its place") === death);
            assert.include(said.join("\n"), "the end of a test");
          }
          assert.deepStrictEqual(
            outcomes.map(({ end }) => end),
            outcomes.map(() => "thread-lost"),
          );
          assert.deepStrictEqual(counts, { received: 300, sent: 300 });
          // Sockets of tests close in turns of their own.
          yield* eventually(() => descriptors() <= before);
        }).pipe(
          Effect.scoped,
          Effect.provide(layerThreads({ threads: 1, file: mortal(deadly) })),
          Effect.provide(Logger.replace(Logger.defaultLogger, logger)),
          Effect.orDie,
        );
      }),
    120_000,
  );
});
