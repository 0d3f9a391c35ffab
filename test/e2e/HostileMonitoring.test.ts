import { readFileSync } from "node:fs";
import { get } from "node:http";
import { assert, describe, it } from "@effect/vitest";
import { Effect, Ref } from "effect";
import { ask, listOf, named } from "../support/Backends.js";
import * as Program from "../support/RunningProgram.js";
import * as ScriptedOperator from "../support/ScriptedOperator.js";
import { dial } from "../support/Sockets.js";

/** A viewer that never reads. */
const viewer = (port: number) =>
  Effect.map(dial(port), (socket) => {
    socket.pause().write("GET /events HTTP/1.1\r\nhost: x\r\n\r\n");
  });

/** A request that never ends. */
const half = (port: number) =>
  Effect.map(dial(port), (socket) => void socket.write("GET /status HTTP/1.1\r\nhost:"));

/** The status of the answer to a `GET` on a connection of its own. */
const statusOf = (port: number, path: string) =>
  Effect.promise(
    () =>
      new Promise<number | undefined>((resolve, reject) => {
        get({ host: "127.0.0.1", port, path, agent: false }, (answer) => {
          answer.resume().once("close", () => resolve(answer.statusCode));
        }).once("error", reject);
      }),
  );

/** The states, by Linux's numbers, of the connections that a port has got, as its side of them has it. */
const statesAt = (port: number): ReadonlyArray<string | undefined> => {
  const here = `0100007F:${port.toString(16).toUpperCase().padStart(4, "0")}`;
  return readFileSync("/proc/net/tcp", "utf8")
    .split("\n")
    .map((line) => line.trim().split(/\s+/))
    .filter(([, local]) => local === here)
    .map(([, , , state]) => state);
};
const synReceived = "03";

const health = ["/livez", "/readyz", "/health"];

for (const transport of Program.transports) {
  describe(`hostile clients of monitoring on ${transport}`, () => {
    it.scopedLive("shut out neither health nor traffic at 256 descriptors", () =>
      Effect.gen(function* () {
        const backend = yield* named("a");
        const program = yield* Program.start(
          transport,
          { BACKENDS: listOf(backend) },
          { command: ["bash", "-c", 'ulimit -n 256; exec "$0"', Program.executable] },
        );
        yield* program.healthy(1);
        const over = yield* Ref.make(false);
        const hostile = Effect.all(
          [
            Effect.replicateEffect(viewer(program.healthPort), 600),
            Effect.replicateEffect(half(program.healthPort), 2_000),
          ],
          { concurrency: "unbounded", discard: true },
        ).pipe(Effect.ensuring(Ref.set(over, true)));
        /** Served without a failure until all have come, and once after that. */
        const served = <A>(once: Effect.Effect<A>): Effect.Effect<number> =>
          Effect.gen(function* () {
            for (let times = 1; ; times++) {
              const last = yield* Ref.get(over);
              yield* once;
              if (last) return times;
            }
          });
        const [, ...times] = yield* Effect.all(
          [
            hostile,
            served(Effect.map(ask(program.port), (name) => assert.strictEqual(name, "a"))),
            ...health.map((path) =>
              served(
                Effect.map(statusOf(program.healthPort, path), (status) =>
                  assert.strictEqual(status, 200, path),
                ),
              ),
            ),
          ],
          { concurrency: "unbounded" },
        );
        for (const count of times) assert.isAtLeast(count, 2);
      }),
    );

    // Node has no option for it.
    it.scopedLive.skipIf(transport === "node")("take no place before they have sent something", () =>
      Effect.gen(function* () {
        const program = yield* Program.start(transport, { BACKENDS: "127.0.0.1:9" });
        yield* Effect.replicateEffect(dial(program.healthPort), 3);
        yield* statusOf(program.healthPort, "/livez");
        const waiting = statesAt(program.healthPort).filter((state) => state === synReceived);
        assert.strictEqual(waiting.length, 3);
      }),
    );

    it.scopedLive("take bounded memory: 512 viewers of 500 backends, none of whom reads", () =>
      Effect.gen(function* () {
        const backend = yield* named("a");
        const instances = Array.from({ length: 500 }, (_, n) =>
          ScriptedOperator.instance(`i${n}`, backend.port),
        );
        const operator = yield* ScriptedOperator.make(ScriptedOperator.lists(instances));
        const program = yield* Program.start(transport, { OPERATOR_URL: operator.url });
        yield* program.healthy(500);
        // What one viewer and the answers to it need is not what is asked for.
        yield* viewer(program.healthPort);
        yield* program.get("/status");
        const before = program.mostMemory();
        yield* Effect.replicateEffect(viewer(program.healthPort), 512);
        // Each probe changes what viewers would be told.
        for (let n = 0; n < 20; n++) yield* program.get("/status");
        // Up to 121 MB were seen on Node 24, whose young generation is larger; without the bound it is gigabytes.
        assert.isBelow(program.mostMemory() - before, 160 * 1024 * 1024);
        assert.strictEqual(yield* ask(program.port), "a");
      }),
    );
  });
}
