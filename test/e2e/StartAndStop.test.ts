import { once } from "node:events";
import type * as net from "node:net";
import { assert, describe, it } from "@effect/vitest";
import { Effect } from "effect";
import { listOf, named, refuses, talk } from "../support/Backends.js";
import * as Program from "../support/RunningProgram.js";
import * as ScriptedOperator from "../support/ScriptedOperator.js";
import { dial, receive } from "../support/Sockets.js";

const exitCalled = "process.exit was called";

/** Tells on stderr of a process that did not end by itself. */
const tellsOfExit = Program.preloading(
  `const { exit } = process; process.exit = (code) => { process.stderr.write("${exitCalled}"); exit(code); };`,
);

for (const transport of Program.transports) {
  /** A running program in front of one backend. */
  const running = (environment: Readonly<Record<string, string>> = {}) =>
    Effect.gen(function* () {
      const backend = yield* named("a");
      const program = yield* Program.start(transport, { BACKENDS: listOf(backend), ...environment });
      yield* program.healthy(1);
      return { backend, program };
    });

  describe(`the life of the program on ${transport}`, () => {
    for (const signal of ["SIGTERM", "SIGINT"] as const) {
      it.scopedLive(`${signal}: refuses new clients, serves those it has, and ends with 0 after them`, () =>
        Effect.gen(function* () {
          const { program } = yield* running();
          const client = yield* talk(program.port);
          assert.deepStrictEqual(yield* program.get("/readyz"), { status: 200, body: { status: "ready" } });

          yield* program.signal(signal);
          yield* program.tells("draining", { connections: 1 });
          yield* Program.untilTrue(refuses(program.port));
          assert.deepStrictEqual(yield* program.get("/readyz"), {
            status: 503,
            body: { status: "draining" },
          });
          const health = yield* program.get("/health");
          assert.strictEqual(health.status, 503);
          assert.propertyVal(health.body, "status", "draining");
          assert.strictEqual(yield* client.says("still here"), "still here");
          assert.strictEqual((yield* program.get("/livez")).status, 200);

          const rest = receive(client.socket);
          client.socket.end("the last word");
          assert.deepStrictEqual(yield* Effect.promise(() => rest), {
            bytes: Buffer.from("the last word"),
            end: "fin",
          });
          assert.deepStrictEqual(yield* program.ended, { code: 0, signal: null });
          assert.strictEqual(program.stderr(), "");
          assert.lengthOf(program.told("drained"), 1);
        }),
      );
    }

    it.scopedLive("resets what is left after DRAIN_TIMEOUT, on both sides, and ends with 0", () =>
      Effect.gen(function* () {
        const { backend, program } = yield* running({ DRAIN_TIMEOUT: "200ms" });
        const client = yield* talk(program.port);
        const [served] = backend.clients;
        const [atClient, atBackend] = [
          receive(client.socket),
          receive(served as net.Socket /* it answered */),
        ];
        yield* program.signal("SIGTERM");
        assert.strictEqual((yield* Effect.promise(() => atClient)).end, "reset");
        assert.strictEqual((yield* Effect.promise(() => atBackend)).end, "reset");
        assert.deepStrictEqual(yield* program.ended, { code: 0, signal: null });
        assert.lengthOf(program.told("drain timeout is over, resetting connections"), 1);
      }),
    );

    it.scopedLive("resets at once with DRAIN_TIMEOUT=0s", () =>
      Effect.gen(function* () {
        const { program } = yield* running({ DRAIN_TIMEOUT: "0s" });
        const client = yield* talk(program.port);
        const atClient = receive(client.socket);
        yield* program.signal("SIGTERM");
        assert.strictEqual((yield* Effect.promise(() => atClient)).end, "reset");
        assert.deepStrictEqual(yield* program.ended, { code: 0, signal: null });
      }),
    );

    for (const [signal, code] of [
      ["SIGTERM", 143],
      ["SIGINT", 130],
    ] as const) {
      it.scopedLive(`ends at once at a second ${signal}, which a shell reports as ${code}`, () =>
        Effect.gen(function* () {
          const backend = yield* named("a");
          // The shell waits for the program and passes its status on, as the user of a shell sees it.
          const shell = yield* Program.start(
            transport,
            { BACKENDS: listOf(backend) },
            {
              command: [
                "bash",
                "-c",
                `"$0" & child=$!; echo "{\\"message\\":\\"started\\",\\"annotations\\":{\\"pid\\":$child}}"; wait $child`,
                Program.executable,
              ],
            },
          );
          const pid = Number((yield* shell.tells("started")).annotations["pid"]);
          yield* shell.healthy(1);
          const client = yield* talk(shell.port);
          const atClient = receive(client.socket);
          process.kill(pid, "SIGTERM");
          yield* shell.tells("draining");
          process.kill(pid, signal);
          assert.deepStrictEqual(yield* shell.ended, { code, signal: null });
          yield* Effect.promise(() => atClient);
        }),
      );
    }

    it.scopedLive("is not held up by monitoring connections that are idle, half-sent or never read", () =>
      Effect.gen(function* () {
        const { program } = yield* running();
        const idle = yield* dial(program.healthPort);
        const answered = once(idle, "data");
        idle.write("GET /livez HTTP/1.1\r\nhost: a\r\n\r\n");
        yield* Effect.promise(() => answered);
        const half = yield* dial(program.healthPort);
        half.write("GET /livez HTTP/1.1\r\nhost");
        const silent = yield* dial(program.healthPort);
        silent.pause();
        silent.write("GET /openapi.json HTTP/1.1\r\nhost: a\r\n\r\n".repeat(2000));
        yield* program.signal("SIGTERM");
        assert.deepStrictEqual(yield* program.ended, { code: 0, signal: null });
      }),
    );

    it.scopedLive("ends because nothing is left to do, with every code (nodejs/node#54918)", () =>
      Effect.gen(function* () {
        const backend = yield* named("a");
        const settings = {
          ...Program.quick(transport),
          BACKENDS: listOf(backend),
          DRAIN_TIMEOUT: "0s",
          ...tellsOfExit,
        };
        const serving = yield* Program.start(transport, settings);
        yield* serving.healthy(1);
        const client = yield* talk(serving.port);
        const viewer = yield* dial(serving.healthPort);
        viewer.write("GET /events HTTP/1.1\r\nhost: a\r\n\r\n");
        yield* Effect.promise(() => once(viewer, "data"));
        const atClient = receive(client.socket);
        const taken = yield* Program.launch({ ...settings, PORT: String(serving.port) });
        assert.deepStrictEqual(yield* taken.ended, { code: 1, signal: null });
        yield* serving.signal("SIGTERM");
        assert.deepStrictEqual(yield* serving.ended, { code: 0, signal: null });
        yield* Effect.promise(() => atClient);
        const wrong = yield* Program.launch({ ...settings, PORT: "http" });
        assert.deepStrictEqual(yield* wrong.ended, { code: 64, signal: null });
        for (const { stderr } of [serving, taken, wrong]) assert.notInclude(stderr(), exitCalled);
      }),
    );

    it.scopedLive("ends with 0 while it knows no backend", () =>
      Effect.gen(function* () {
        const operator = yield* ScriptedOperator.make(ScriptedOperator.lists([]));
        const program = yield* Program.start(transport, { OPERATOR_URL: operator.url });
        yield* program.signal("SIGTERM");
        assert.deepStrictEqual(yield* program.ended, { code: 0, signal: null });
      }),
    );

    it.scopedLive("ends at a signal while it still waits for its first discovery", () =>
      Effect.gen(function* () {
        const operator = yield* ScriptedOperator.make(() => {});
        const program = yield* Program.launch({
          ...Program.quick(transport),
          OPERATOR_URL: operator.url,
          DISCOVERY_TIMEOUT: "1h",
        });
        const line = yield* program.tells("monitoring");
        const healthPort = Number(String(line.annotations["address"]).split(":").at(-1));
        yield* Program.untilTrue(Effect.sync(() => operator.asked.length > 0));
        assert.deepStrictEqual(yield* Program.get(healthPort, "/readyz"), {
          status: 503,
          body: { status: "starting" },
        });
        yield* program.signal("SIGTERM");
        assert.deepStrictEqual(yield* program.ended, { code: 0, signal: null });
        assert.lengthOf(program.told("listening"), 0);
      }),
    );
  });
}
