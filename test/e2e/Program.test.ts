import { mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { assert, describe, it } from "@effect/vitest";
import { Effect } from "effect";
import {
  ask,
  checkedAgain,
  listOf,
  type Named,
  named,
  refuses,
  restartable,
  talk,
} from "../support/Backends.js";
import * as Ports from "../support/Ports.js";
import * as Program from "../support/RunningProgram.js";
import { serve } from "../support/Sockets.js";

const three = Effect.all([named("a"), named("b"), named("c")]);

const countOf = (names: ReadonlyArray<string>): Readonly<Record<string, number>> => {
  const counts: Record<string, number> = {};
  for (const name of names) counts[name] = (counts[name] ?? 0) + 1;
  return counts;
};

const scratch = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "load-balancer-program-"))),
  (folder) => Effect.sync(() => rmSync(folder, { recursive: true, force: true })),
);

for (const transport of Program.transports) {
  const inFrontOf = (backends: ReadonlyArray<Named>, environment: Readonly<Record<string, string>> = {}) =>
    Effect.tap(Program.start(transport, { BACKENDS: listOf(...backends), ...environment }), (program) =>
      program.healthy(backends.length),
    );

  describe(`wrong settings on ${transport}`, () => {
    for (const [what, wrong] of [
      ["one", { LB_ALGORITHM: "dice" }],
      [
        "several",
        { PORT: "http", DRAIN_TIMEOUT: "-1s", HEALTH_CHECK_INTERVAL: "0s", BACKENDS: "a", LOG_LEVEL: "loud" },
      ],
    ] as const) {
      it.scopedLive(`names ${what}, in words, and binds nothing`, () =>
        Effect.gen(function* () {
          const healthPort = yield* Ports.unused;
          const program = yield* Program.launch({
            ...Program.quick(transport),
            HEALTH_PORT: String(healthPort),
            ...wrong,
          });
          assert.deepStrictEqual(yield* program.ended, { code: 64, signal: null });
          for (const [name, value] of Object.entries(wrong)) {
            assert.match(program.stderr(), new RegExp(`^ +${name}="${value}": .*; accepted: `, "m"));
          }
          assert.notMatch(program.stderr(), /^\s+at /m);
          // The log starts before anything is bound.
          assert.strictEqual(program.stdout(), "");
        }),
      );
    }

    for (const variable of ["PORT", "HEALTH_PORT"]) {
      it.scopedLive(`says that ${variable} is taken`, () =>
        Effect.gen(function* () {
          const taken = yield* serve((socket) => socket.destroy());
          const backend = yield* named("a");
          const program = yield* Program.launch({
            ...Program.quick(transport),
            BACKENDS: listOf(backend),
            [variable]: String(taken.port),
          });
          assert.deepStrictEqual(yield* program.ended, { code: 1, signal: null });
          assert.include(program.stderr(), `127.0.0.1:${taken.port} is in use`);
          assert.match(program.stderr(), new RegExp(`\\b${variable}\\b`));
          assert.notMatch(program.stderr(), /^\s+at /m);
        }),
      );
    }
  });

  describe(`spreading connections on ${transport}`, () => {
    it.scopedLive("round-robin: 300 connections on three backends are 100 each", () =>
      Effect.gen(function* () {
        const program = yield* inFrontOf(yield* three);
        const names = yield* Effect.forEach(Array.from({ length: 300 }), () => ask(program.port), {
          concurrency: 20,
        });
        assert.deepStrictEqual(countOf(names), { a: 100, b: 100, c: 100 });
        yield* Program.untilTrue(
          Effect.map(program.backends, (list) => list.every(({ connections }) => connections === 0)),
        );
      }),
    );

    it.scopedLive("least-connections: fills up the backend that has the fewest", () =>
      Effect.gen(function* () {
        const program = yield* inFrontOf(yield* three, { LB_ALGORITHM: "least-connections" });
        const open = yield* Effect.forEach(Array.from({ length: 9 }), () => talk(program.port));
        assert.deepStrictEqual(countOf(open.map(({ name }) => name)), { a: 3, b: 3, c: 3 });
        const ended = open.filter(({ name }) => name === "b");
        for (const { socket } of ended) socket.destroy();
        yield* Program.untilTrue(
          Effect.map(
            program.backends,
            (list) => list.reduce((sum, { connections }) => sum + connections, 0) === 6,
          ),
        );
        const next = yield* Effect.forEach(ended, () => talk(program.port));
        assert.deepStrictEqual(
          next.map(({ name }) => name),
          ["b", "b", "b"],
        );
      }),
    );

    it.scopedLive("ip-hash: a client keeps its backend, also at another balancer with another order", () =>
      Effect.gen(function* () {
        const backends = yield* three;
        const one = yield* inFrontOf(backends, { LB_ALGORITHM: "ip-hash" });
        const other = yield* inFrontOf([...backends].reverse(), { LB_ALGORITHM: "ip-hash" });
        const clients = Array.from({ length: 30 }, (_, i) => `127.0.0.${i + 2}`);
        const first = yield* Effect.forEach(clients, (client) => ask(one.port, client));
        const again = yield* Effect.forEach(clients, (client) => ask(one.port, client));
        const elsewhere = yield* Effect.forEach(clients, (client) => ask(other.port, client));
        assert.deepStrictEqual(again, first);
        assert.deepStrictEqual(elsewhere, first);
        assert.hasAllKeys(countOf(first), ["a", "b", "c"]);
      }),
    );
  });

  describe(`health on ${transport}`, () => {
    it.scopedLive("tells once that a backend is down and once that it is up again, and /health follows", () =>
      Effect.gen(function* () {
        const stays = yield* named("stays");
        const goes = yield* restartable("goes");
        const program = yield* Program.start(transport, {
          BACKENDS: listOf(stays, goes),
          HEALTH_CHECK_FALL: "2",
        });
        yield* program.healthy(2);
        assert.deepStrictEqual(yield* program.get("/health"), {
          status: 200,
          body: {
            status: "healthy",
            type: "L4",
            algorithm: "round-robin",
            total_backends: 2,
            healthy_backends: 2,
          },
        });

        yield* goes.stop;
        yield* program.healthy(1);
        const degraded = yield* program.get("/health");
        assert.strictEqual(degraded.status, 200);
        assert.propertyVal(degraded.body, "status", "degraded");
        yield* checkedAgain(program, `127.0.0.1:${goes.port}`, 4);
        const down = program.logged("backend is down");
        assert.lengthOf(down, 1);
        assert.include(String(down[0]?.annotations["why"]), "refused");
        assert.deepStrictEqual(countOf(yield* Effect.forEach([1, 2, 3, 4], () => ask(program.port))), {
          stays: 4,
        });

        yield* goes.start;
        yield* program.healthy(2);
        yield* checkedAgain(program, `127.0.0.1:${goes.port}`, 4);
        const up = program
          .logged("backend is up")
          .filter(({ annotations }) => String(annotations["backend"]).includes(`:${goes.port}`));
        // When it was new, one line summed up the checks of all.
        assert.lengthOf(up, 1);
        assert.lengthOf(program.logged("backends checked"), 1);
        assert.lengthOf(program.logged("backend is down"), 1);
        assert.deepStrictEqual(countOf(yield* Effect.forEach([1, 2, 3, 4], () => ask(program.port))), {
          stays: 2,
          goes: 2,
        });
      }),
    );

    it.scopedLive("/health is unhealthy, with 503, when no backend is", () =>
      Effect.gen(function* () {
        const program = yield* Program.start(transport, { BACKENDS: `127.0.0.1:${yield* Ports.unused}` });
        yield* program.awaitLogged("backend is down");
        assert.deepStrictEqual(yield* program.get("/health"), {
          status: 503,
          body: {
            status: "unhealthy",
            type: "L4",
            algorithm: "round-robin",
            total_backends: 1,
            healthy_backends: 0,
          },
        });
        assert.strictEqual((yield* program.get("/readyz")).status, 200);
      }),
    );
  });

  describe(`the log on ${transport}`, () => {
    /** Runs it on ports that are known without its log, until it serves, and ends it. */
    const runOnce = (environment: Readonly<Record<string, string>>) =>
      Effect.gen(function* () {
        const [port, healthPort] = [yield* Ports.unused, yield* Ports.unused];
        const backend = yield* named("a");
        const launched = yield* Program.launch({
          ...Program.quick(transport),
          BACKENDS: `${listOf(backend)},127.0.0.1:${yield* Ports.unused}`,
          PORT: String(port),
          HEALTH_PORT: String(healthPort),
          ...environment,
        });
        yield* Program.untilTrue(Effect.map(refuses(port), (refused) => !refused));
        const program = Program.attached(launched, { port, healthPort });
        yield* program.healthy(1);
        yield* ask(port);
        yield* Program.untilTrue(
          Effect.map(program.backends, (list) => list.every(({ last_check }) => last_check !== null)),
        );
        yield* program.signal("SIGTERM");
        yield* program.ended;
        return program;
      });

    for (const [level, levels] of [
      ["debug", ["DEBUG", "INFO", "WARN"]],
      ["info", ["INFO", "WARN"]],
      ["warn", ["WARN"]],
      ["warning", ["WARN"]],
      ["error", []],
    ] as const) {
      it.scopedLive(`LOG_LEVEL=${level} tells ${levels.join(", ") || "nothing of it"}`, () =>
        Effect.gen(function* () {
          const program = yield* runOnce({ LOG_LEVEL: level, ENVIRONMENT: "staging" });
          assert.sameMembers([...new Set(program.log().map(({ logLevel }) => logLevel))], [...levels]);
          assert.strictEqual(program.logged("backend chosen").length > 0, level === "debug");
        }),
      );
    }

    for (const environment of ["production", "staging"]) {
      it.scopedLive(`is JSON lines in ${environment}`, () =>
        Effect.gen(function* () {
          const program = yield* runOnce({ ENVIRONMENT: environment });
          const lines = program.stdout().trimEnd().split("\n");
          assert.isAbove(lines.length, 3);
          for (const line of lines) assert.isObject(JSON.parse(line));
        }),
      );
    }

    it.scopedLive("is made for reading in development", () =>
      Effect.gen(function* () {
        const program = yield* runOnce({ ENVIRONMENT: "development" });
        assert.match(program.stdout(), /INFO.*listening/);
        assert.notMatch(program.stdout(), /^\{"/m);
      }),
    );
  });

  describe(`where it is run from on ${transport}`, () => {
    it.scopedLive("runs from any working directory, and through a symbolic link", () =>
      Effect.gen(function* () {
        const folder = yield* scratch;
        const link = join(folder, "lb");
        symlinkSync(Program.executable, link);
        const backend = yield* named("a");
        const settings = { BACKENDS: listOf(backend) };
        const elsewhere = yield* Program.start(transport, settings, { cwd: folder });
        yield* elsewhere.healthy(1);
        assert.strictEqual(yield* ask(elsewhere.port), "a");
        const linked = yield* Program.start(transport, settings, { cwd: "/", command: [link] });
        yield* linked.healthy(1);
        assert.strictEqual(yield* ask(linked.port), "a");
      }),
    );
  });
}

describe("a variable that is no setting, or is none of ours", () => {
  it.scopedLive("does not stop the start, and is warned of", () =>
    Effect.gen(function* () {
      const backend = yield* named("a");
      let asked = 0;
      const collector = yield* serve((socket) => {
        asked += 1;
        socket.destroy();
      });
      const program = yield* Program.start("node", {
        BACKENDS: listOf(backend),
        BACKEND: "127.0.0.1:1",
        PROT: "80",
        OTEL_TRACES_SAMPLER_ARG: "100",
        OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${collector.port}`,
        OTEL_SDK_DISABLED: "true",
      });
      yield* program.healthy(1);
      const warnings = program.logged("setting ignored").map(({ annotations }) => String(annotations["why"]));
      assert.lengthOf(warnings, 3);
      assert.match(warnings[0] ?? "", /^OTEL_TRACES_SAMPLER_ARG="100": it is more than 1; accepted: /);
      assert.include(warnings[1], '"BACKEND" is no setting; did you mean BACKENDS?');
      assert.include(warnings[2], '"PROT" is no setting; did you mean PORT?');
      // What is left to send is sent at the end.
      yield* program.signal("SIGTERM");
      yield* program.ended;
      assert.strictEqual(asked, 0);
    }),
  );
});
