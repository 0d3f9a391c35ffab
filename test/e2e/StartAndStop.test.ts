import { spawnSync } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import type * as net from "node:net";
import { assert, describe, it } from "@effect/vitest";
import { Effect, Schedule } from "effect";
import { listOf, named, refuses, talk } from "../support/Backends.js";
import * as Real from "../support/RealServer.js";
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

  describe(`start and stop on ${transport}`, () => {
    for (const signal of ["SIGTERM", "SIGINT", "SIGQUIT"] as const) {
      it.scopedLive(`${signal}: refuses new clients, serves those it has, and ends with 0 after them`, () =>
        Effect.gen(function* () {
          const { program } = yield* running();
          const client = yield* talk(program.port);
          assert.deepStrictEqual(yield* program.get("/readyz"), { status: 200, body: { status: "ready" } });

          yield* program.signal(signal);
          yield* program.awaitLogged("draining", { connections: 1 });
          yield* Program.untilTrue(refuses(program.port));
          const ready = yield* program.get("/readyz");
          assert.strictEqual(ready.status, 503);
          assert.propertyVal(ready.body, "status", "draining");
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
          assert.lengthOf(program.logged("drained"), 1);
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
        assert.lengthOf(program.logged("drain timeout is over, resetting connections"), 1);
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

    it.scopedLive("goes on taking clients for SHUTDOWN_DELAY and says that they should go elsewhere", () =>
      Effect.gen(function* () {
        const { program } = yield* running({ SHUTDOWN_DELAY: "3s" });
        const before = yield* talk(program.port);
        yield* program.signal("SIGTERM");
        yield* program.awaitLogged("stopping: clients are taken for a while");
        const ready = yield* program.get("/readyz");
        assert.strictEqual(ready.status, 503);
        assert.propertyVal(ready.body, "status", "stopping");
        assert.propertyVal((yield* program.get("/health")).body, "status", "stopping");
        assert.propertyVal((yield* program.get("/status")).body, "status", "stopping");
        const meanwhile = yield* talk(program.port);
        assert.strictEqual(yield* meanwhile.says("served still"), "served still");
        yield* program.awaitLogged("draining");
        yield* Program.untilTrue(refuses(program.port));
        assert.propertyVal((yield* program.get("/readyz")).body, "status", "draining");
        for (const { socket } of [before, meanwhile]) {
          const rest = receive(socket);
          socket.end();
          assert.strictEqual((yield* Effect.promise(() => rest)).end, "fin");
        }
        assert.deepStrictEqual(yield* program.ended, { code: 0, signal: null });
      }),
    );

    it.scopedLive("begins the drain at a second signal during SHUTDOWN_DELAY, and ends at a third", () =>
      Effect.gen(function* () {
        const { program } = yield* running({ SHUTDOWN_DELAY: "1h", DRAIN_TIMEOUT: "1h" });
        yield* talk(program.port);
        yield* program.signal("SIGTERM");
        yield* program.awaitLogged("stopping: clients are taken for a while");
        // Within a second it counts as the one before.
        const again = Effect.ignore(program.signal("SIGTERM")).pipe(
          Effect.repeat(Schedule.spaced("100 millis")),
        );
        yield* Effect.raceFirst(again, program.awaitLogged("draining", { connections: 1 }));
        assert.deepStrictEqual(yield* Effect.raceFirst(again, program.ended), {
          code: null,
          signal: "SIGTERM",
        });
      }),
    );

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
        const line = yield* program.awaitLogged("monitoring");
        const healthPort = Number(String(line.annotations["address"]).split(":").at(-1));
        yield* Program.untilTrue(Effect.sync(() => operator.asked.length > 0));
        const ready = yield* Program.get(healthPort, "/readyz");
        assert.strictEqual(ready.status, 503);
        assert.propertyVal(ready.body, "status", "starting");
        yield* program.signal("SIGTERM");
        assert.deepStrictEqual(yield* program.ended, { code: 0, signal: null });
        assert.lengthOf(program.logged("listening"), 0);
      }),
    );
  });
}

/** A running program in front of one backend. Nothing here depends on the transport. */
const running = (
  command?: readonly [string, ...Array<string>],
  environment: Readonly<Record<string, string>> = {},
) =>
  Effect.gen(function* () {
    const backend = yield* named("a");
    const settings = { BACKENDS: listOf(backend), ...environment };
    const program = yield* Program.start("node", settings, command === undefined ? {} : { command });
    yield* program.healthy(1);
    return program;
  });

/** Runs the program under a shell, which passes its status on as its user sees it, and says which process it is. */
const underShell: readonly [string, ...Array<string>] = [
  "bash",
  "-c",
  `"$0" & child=$!; echo "{\\"message\\":\\"started\\",\\"annotations\\":{\\"pid\\":$child}}"; wait $child`,
  Program.executable,
];

const pidOf = (program: Program.Launched) =>
  Effect.map(program.awaitLogged("started"), ({ annotations }) => Number(annotations["pid"]));

describe("a second signal", () => {
  for (const [signal, code] of [
    ["SIGTERM", 143],
    ["SIGINT", 130],
    ["SIGQUIT", 143],
  ] as const) {
    it.scopedLive(`ends it at once, which a shell reports as ${code} for ${signal}`, () =>
      Effect.gen(function* () {
        const shell = yield* running(underShell);
        const pid = yield* pidOf(shell);
        const client = yield* talk(shell.port);
        const atClient = receive(client.socket);
        process.kill(pid, "SIGTERM");
        yield* shell.awaitLogged("draining");
        // Within a second it counts as the first.
        yield* Effect.ignore(Effect.try(() => process.kill(pid, signal))).pipe(
          Effect.repeat(Schedule.spaced("100 millis")),
          Effect.raceFirst(shell.ended),
          Effect.tap((ended) => assert.deepStrictEqual(ended, { code, signal: null })),
        );
        yield* Effect.promise(() => atClient);
      }),
    );
  }

  it.scopedLive("that comes together with the first counts as the same", () =>
    Effect.gen(function* () {
      const program = yield* running();
      const client = yield* talk(program.port);
      yield* program.signal("SIGINT");
      yield* program.signal("SIGTERM");
      yield* program.awaitLogged("draining");
      assert.strictEqual(yield* client.says("still here"), "still here");
      client.socket.end();
      assert.deepStrictEqual(yield* program.ended, { code: 0, signal: null });
    }),
  );

  it.scopedLive.skipIf(spawnSync("unshare", ["--pid", "--fork", "true"]).status !== 0)(
    "ends it as the first process of a container, too",
    () =>
      Effect.gen(function* () {
        const container = yield* running(["unshare", "--pid", "--fork", "--kill-child", Program.executable]);
        const pid = Number(readFileSync(`/proc/${container.pid}/task/${container.pid}/children`, "utf8"));
        yield* talk(container.port);
        process.kill(pid, "SIGTERM");
        yield* container.awaitLogged("draining");
        yield* Effect.ignore(Effect.try(() => process.kill(pid, "SIGTERM"))).pipe(
          Effect.repeat(Schedule.spaced("100 millis")),
          Effect.raceFirst(container.ended),
          Effect.tap((ended) => assert.deepStrictEqual(ended, { code: 143, signal: null })),
        );
      }),
  );
});

describe("a signal that others give a meaning to", () => {
  for (const signal of ["SIGHUP", "SIGUSR1", "SIGUSR2", "SIGALRM"] as const) {
    it.scopedLive(`${signal} is ignored with a line`, () =>
      Effect.gen(function* () {
        const program = yield* running();
        const client = yield* talk(program.port);
        yield* program.signal(signal);
        yield* program.awaitLogged("signal ignored", { signal });
        assert.strictEqual(yield* client.says("still here"), "still here");
        assert.notInclude(program.stderr(), "Debugger");
      }),
    );
  }

  it.scopedLive.skipIf(Real.missing({ python3: "python3" }) !== undefined)(
    "SIGHUP drains where it was started on a terminal",
    () =>
      Effect.gen(function* () {
        const terminal = yield* running([
          Real.pathOf("python3"),
          "-c",
          // The program has a terminal for its input alone, so that its log is what it is elsewhere.
          'import json, os, pty, subprocess, sys; _, t = pty.openpty(); p = subprocess.Popen(sys.argv[1:], stdin=t); print(json.dumps({"message": "started", "annotations": {"pid": p.pid}}), flush=True); sys.exit(p.wait())',
          Program.executable,
        ]);
        const client = yield* talk(terminal.port);
        process.kill(yield* pidOf(terminal), "SIGHUP");
        yield* terminal.awaitLogged("draining");
        assert.strictEqual(yield* client.says("still here"), "still here");
        client.socket.end();
        assert.deepStrictEqual(yield* terminal.ended, { code: 0, signal: null });
      }),
  );
});

describe("Node's debugger", () => {
  const address = /Debugger listening on ws:\/\/(127\.0\.0\.1):(\d+)/;
  const portIn = (program: Program.Launched) => Number(address.exec(program.stderr())?.[2]);

  it.scopedLive("is closed where a signal opened it before the program could take it", () =>
    Effect.gen(function* () {
      const opened = Program.preloading('import inspector from "node:inspector"; inspector.open(0);');
      const program = yield* running(undefined, opened);
      assert.match(program.stderr(), address);
      assert.isTrue(yield* refuses(portIn(program)));
    }),
  );

  it.scopedLive("stays open for those who asked for it", () =>
    Effect.gen(function* () {
      const program = yield* running(undefined, { NODE_OPTIONS: "--inspect=127.0.0.1:0" });
      assert.isFalse(yield* refuses(portIn(program)));
    }),
  );
});

describe("too few descriptors", () => {
  for (const limit of [32, 64, 128]) {
    it.scopedLive(`end it in words, or are enough: ${limit}`, () =>
      Effect.gen(function* () {
        const program = yield* Program.launch(
          { ...Program.quick("node"), BACKENDS: "127.0.0.1:1" },
          { command: ["bash", "-c", `ulimit -n ${limit}; exec "$0"`, Program.executable] },
        );
        const listening = Effect.as(program.awaitLogged("listening"), undefined);
        const ended = yield* Effect.raceFirst(
          Effect.option(listening).pipe(Effect.as(undefined)),
          program.ended,
        );
        if (ended !== undefined) {
          assert.deepStrictEqual(ended, { code: 1, signal: null });
          assert.match(program.stderr(), /^load-balancer: .*descriptors.*\n$/);
        }
        assert.notMatch(program.stderr(), /^\s+at /m);
      }),
    );
  }
});
