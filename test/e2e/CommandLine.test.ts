import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { assert, describe, it } from "@effect/vitest";
import { Effect, Schema } from "effect";
import { variables } from "../../src/config/Settings.js";
import { Status } from "../../src/monitoring/Api.js";
import { listOf, named, restartable, talk } from "../support/Backends.js";
import * as Ports from "../support/Ports.js";
import * as Real from "../support/RealServer.js";
import * as Program from "../support/RunningProgram.js";
import * as ScriptedOperator from "../support/ScriptedOperator.js";

type Environment = Readonly<Record<string, string>>;

const launch = (args: ReadonlyArray<string>, environment: Environment) =>
  Program.launch(environment, { command: [Program.executable, ...args] });

/** Runs a command to its end. */
const run = (args: ReadonlyArray<string>, environment: Environment = {}) =>
  Effect.scoped(
    Effect.gen(function* () {
      const command = yield* launch(args, environment);
      const { code } = yield* command.ended;
      return { code, out: command.stdout(), complaint: command.stderr() };
    }),
  );

const escapeCharacter = "\u001b";
const token = "a-token-of-some-length";

/** A running balancer, and the environment in which commands find it. */
const running = (environment: Environment = {}) =>
  Effect.map(Program.start("node", environment), (program) => ({
    program,
    here: {
      HEALTH_BIND_ADDRESS: "127.0.0.1",
      HEALTH_PORT: String(program.healthPort),
      ...(environment["ADMIN_TOKEN"] === undefined ? {} : { ADMIN_TOKEN: token }),
    },
  }));

const lines = (text: string): ReadonlyArray<string> => text.trimEnd().split("\n");
const lineOf = (text: string, id: string): string => lines(text).find((line) => line.startsWith(id)) ?? "";

describe("load-balancer check", () => {
  it.scopedLive("is ready when every backend answers", () =>
    Effect.gen(function* () {
      const backends = [yield* named("a"), yield* named("b")];
      const environment = { BACKENDS: listOf(...backends), OPERATOR_TOKEN: "not-for-your-eyes" };
      const { code, complaint, out } = yield* run(["check"], environment);
      assert.deepStrictEqual([code, complaint], [0, ""]);
      for (const { name } of variables) assert.match(out, new RegExp(`^${name} +\\S`, "m"));
      for (const { port } of backends) assert.match(lineOf(out, `127.0.0.1:${port}`), /answers$/);
      assert.notInclude(out, "not-for-your-eyes");
      assert.notInclude(out, escapeCharacter);
    }),
  );

  it.scopedLive("is degraded when some answer, and says which does not and why", () =>
    Effect.gen(function* () {
      const backend = yield* named("a");
      const closed = yield* Ports.unused;
      const operator = yield* ScriptedOperator.make(
        ScriptedOperator.lists([
          ScriptedOperator.instance("web-1", backend.port),
          ScriptedOperator.instance("web-2", closed),
        ]),
      );
      const { code, out } = yield* run(["check"], { OPERATOR_URL: operator.url });
      assert.strictEqual(code, 2);
      assert.match(lineOf(out, "web-1"), /answers$/);
      assert.match(lineOf(out, "web-2"), /refused the connection \(ECONNREFUSED\)$/);
    }),
  );

  it.scopedLive("is unavailable when the Operator, or every backend, does not answer", () =>
    Effect.gen(function* () {
      const closed = yield* Ports.unused;
      const nobody = yield* run(["check"], { OPERATOR_URL: `http://127.0.0.1:${closed}` });
      assert.strictEqual(nobody.code, 1);
      assert.include(nobody.out, "the connection was refused; is the Operator running there?");
      const down = yield* run(["check", "--json"], { BACKENDS: `127.0.0.1:${closed}` });
      assert.strictEqual(down.code, 1);
      const report = JSON.parse(down.out);
      assert.strictEqual(report.verdict, "unavailable");
      assert.strictEqual(report.backends[0].connect_ms, null);
      assert.strictEqual(report.settings.BACKENDS, `127.0.0.1:${closed}`);
    }),
  );

  it.live("says what is wrong with the settings as the program does", () =>
    Effect.gen(function* () {
      const wrong = { PORT: "99999", LOG_LEVEL: "loud" };
      const checked = yield* run(["check"], wrong);
      const started = yield* run([], wrong);
      assert.strictEqual(checked.code, 64);
      assert.deepStrictEqual(checked, started);
    }),
  );
});

describe("load-balancer check of ports", () => {
  it.scopedLive("warns of one that is taken, and says by whom", () =>
    Effect.gen(function* () {
      const backend = yield* named("a");
      const { program } = yield* running({ BACKENDS: listOf(backend) });
      const { code, out } = yield* run(["check"], {
        BACKENDS: listOf(backend),
        BIND_ADDRESS: "127.0.0.1",
        PORT: String(program.port),
        HEALTH_PORT: "0",
      });
      assert.strictEqual(code, 0);
      const by = process.platform === "linux" ? ` \\(process ${program.pid}\\)$` : "";
      assert.match(out, new RegExp(`^PORT is taken by .*${by}`, "m"));
    }),
  );

  it.scopedLive("is unavailable where an address is not this host's, as the program says it", () =>
    Effect.gen(function* () {
      const backend = yield* named("a");
      // TEST-NET-1 of RFC 5737: nobody has it.
      const environment = {
        BACKENDS: listOf(backend),
        PORT: "0",
        HEALTH_PORT: "0",
        BIND_ADDRESS: "192.0.2.1",
      };
      const checked = yield* run(["check"], environment);
      assert.strictEqual(checked.code, 1);
      const started = yield* run([], environment);
      assert.strictEqual(started.code, 1);
      for (const text of [checked.out, started.complaint]) {
        assert.match(text, /192\.0\.2\.1 .*net\.ipv4\.ip_nonlocal_bind.*BIND_ADDRESS/);
      }
    }),
  );

  it.scopedLive.skipIf(Real.missing({ setpriv: "util-linux" }) !== undefined || process.getuid?.() !== 0)(
    "is unavailable where a port is forbidden",
    () =>
      Effect.gen(function* () {
        const backend = yield* named("a");
        const command = yield* Program.launch(
          { BACKENDS: listOf(backend), BIND_ADDRESS: "127.0.0.1", PORT: "9", HEALTH_PORT: "0" },
          {
            command: [
              Real.pathOf("setpriv"),
              "--bounding-set=-net_bind_service",
              "--inh-caps=-net_bind_service",
              Program.executable,
              "check",
            ],
          },
        );
        assert.deepStrictEqual(yield* command.ended, { code: 1, signal: null });
        assert.match(command.stdout(), /^PORT: .*not permitted.*CAP_NET_BIND_SERVICE/m);
      }),
  );

  it.scopedLive("prints what would be ignored", () =>
    Effect.gen(function* () {
      const backend = yield* named("a");
      const { code, out } = yield* run(["check", "--json"], {
        BACKENDS: listOf(backend),
        PORT: "0",
        HEALTH_PORT: "0",
        PROT: "80",
        OTEL_TRACES_SAMPLER_ARG: "100",
      });
      assert.strictEqual(code, 0);
      const { warnings } = JSON.parse(out);
      assert.lengthOf(warnings, 2);
      assert.include(warnings[1], "did you mean PORT?");
    }),
  );
});

describe("load-balancer status", () => {
  it.scopedLive("shows a running one as a plain table in a pipe, and as JSON", () =>
    Effect.gen(function* () {
      const backend = yield* named("a");
      const closed = yield* Ports.unused;
      const { here, program } = yield* running({ BACKENDS: `${listOf(backend)},127.0.0.1:${closed}` });
      yield* program.healthy(1);
      const { code, out } = yield* run(["status"], here);
      assert.strictEqual(code, 0);
      assert.match(out, /^degraded: 1 of 2 backends healthy; round-robin, /);
      assert.match(lineOf(out, `127.0.0.1:${backend.port}`), / up /);
      assert.match(lineOf(out, `127.0.0.1:${closed}`), / down .*ECONNREFUSED/);
      assert.notInclude(out, escapeCharacter);
      const elsewhere = yield* run(["status", "--json", "--url", `http://127.0.0.1:${program.healthPort}/`]);
      const status = Schema.decodeUnknownSync(Schema.parseJson(Status))(elsewhere.out);
      assert.deepStrictEqual([status.healthy_backends, status.total_backends], [1, 2]);
    }),
  );

  it.scopedLive("prints no escapeCharacter of a backend's name", () =>
    Effect.gen(function* () {
      const backend = yield* named("a");
      const operator = yield* ScriptedOperator.make(
        ScriptedOperator.lists([ScriptedOperator.instance("ok", backend.port)]),
      );
      const { here, program } = yield* running({ OPERATOR_URL: operator.url });
      yield* program.healthy(1);
      const strange = yield* run(["backends", "drain", "\u001b[2Jboo"], { ...here, ADMIN_TOKEN: token });
      assert.strictEqual(strange.code, 1);
      assert.notInclude(strange.complaint, escapeCharacter);
    }),
  );

  it.scopedLive.skipIf(Real.missing({ python3: "python3" }) !== undefined)(
    "has colours on a terminal, unless NO_COLOR is set",
    () =>
      Effect.gen(function* () {
        const backend = yield* named("a");
        const { here, program } = yield* running({ BACKENDS: listOf(backend) });
        yield* program.healthy(1);
        const onTerminal = (environment: Environment) =>
          Real.run(
            "python3",
            ["-c", "import pty, sys; pty.spawn(sys.argv[1:])", Program.executable, "status"],
            {
              env: { ...here, ...environment },
            },
          );
        assert.include(yield* onTerminal({}), `${escapeCharacter}[32mup`);
        assert.notInclude(yield* onTerminal({ NO_COLOR: "1" }), escapeCharacter);
      }),
  );

  it.scopedLive("watches: a backend that dies, a balancer that goes and comes back", () =>
    Effect.gen(function* () {
      const backend = yield* restartable("a");
      const healthPort = String(yield* Ports.unused);
      const environment = { BACKENDS: listOf(backend), HEALTH_CHECK_FALL: "1", HEALTH_PORT: healthPort };
      const here = { HEALTH_BIND_ADDRESS: "127.0.0.1", HEALTH_PORT: healthPort };
      const watch = yield* Effect.scoped(
        Effect.gen(function* () {
          const program = yield* Program.start("node", environment);
          yield* program.healthy(1);
          return program;
        }),
      ).pipe(Effect.zipRight(launch(["status", "--watch", "--json"], here)));
      yield* Program.untilTrue(Effect.sync(() => /no load balancer answers/.test(watch.stderr())));
      yield* Program.start("node", environment);
      const seen = (healthy: number) =>
        Program.untilTrue(
          Effect.sync(() =>
            lines(watch.stdout()).some((line) => line.includes(`"healthy_backends":${healthy}`)),
          ),
        );
      yield* seen(1);
      // Told once each, in this order, however often it was looked for in between.
      const told = lines(watch.stderr());
      assert.match(told.at(-1) ?? "", /^load-balancer: the load balancer at http:\S+ is back$/);
      assert.lengthOf(new Set(told), told.length);
      yield* backend.stop;
      yield* seen(0);
      yield* watch.signal("SIGINT");
      assert.deepStrictEqual(yield* watch.ended, { code: 0, signal: null });
    }),
  );

  it.scopedLive("says in one line that nobody, or somebody else, is there", () =>
    Effect.gen(function* () {
      const closed = yield* Ports.unused;
      const nobody = yield* run(["status"], { HEALTH_PORT: String(closed) });
      assert.strictEqual(nobody.code, 1);
      assert.match(
        nobody.complaint,
        /^load-balancer: no load balancer answers at http:\S+ \(ECONNREFUSED\): .*--url.*\n$/,
      );
      const server = createServer((_, response) => response.end("hello")).listen(0, "127.0.0.1");
      yield* Effect.addFinalizer(() => Effect.sync(() => server.close()));
      yield* Effect.promise(() => once(server, "listening"));
      const { port } = server.address() as AddressInfo; // it listens on a port
      const other = yield* run(["status", "--url", `http://127.0.0.1:${port}`]);
      assert.strictEqual(other.code, 1);
      assert.match(
        other.complaint,
        /^load-balancer: what answers at http:\S+ is not a load balancer of this version .*\n$/,
      );
    }),
  );
});

describe("load-balancer connections", () => {
  it.scopedLive("lists open connections, and cuts one", () =>
    Effect.gen(function* () {
      const backend = yield* named("a");
      const { here, program } = yield* running({ BACKENDS: listOf(backend), ADMIN_TOKEN: token });
      yield* program.healthy(1);
      assert.strictEqual((yield* run(["connections"], here)).out, "0 of 0 open connections\n");
      const client = `127.0.0.1:${(yield* talk(program.port)).socket.localPort}`;
      yield* talk(program.port);
      const listed = yield* run(["connections", "--limit", "1", "--order", "longest"], here);
      assert.deepStrictEqual([listed.code, listed.complaint], [0, ""]);
      assert.match(listed.out, /^1 of 2 open connections\n\nID +CLIENT +BACKEND +PHASE +AGE /);
      const [, id] =
        new RegExp(`^(\\d+) +${client} +127.0.0.1:${backend.port} +relaying `, "m").exec(listed.out) ?? [];
      const cut = yield* run(["connections", "cut", String(id)], here);
      assert.deepStrictEqual([cut.code, cut.complaint], [0, ""]);
      assert.match(cut.out, new RegExp(`^connection ${id} of ${client} to .* was reset: `));
      for (const [args, code, why] of [
        [["connections", "cut", String(id)], 1, `no connection ${id} is open`],
        [["connections", "--limit", "0"], 1, "limit 0: accepted: a whole number from 1 to 1000"],
        [["connections", "--client", "me"], 1, 'client "me": it is not an IP address'],
      ] as const) {
        const said = yield* run(args, here);
        assert.strictEqual(said.code, code);
        assert.include(said.complaint, why);
      }
      const without = yield* run(["connections"], { ...here, ADMIN_TOKEN: "" });
      assert.deepStrictEqual([without.code, /ADMIN_TOKEN is not set/.test(without.complaint)], [64, true]);
    }),
  );
});

describe("load-balancer backends", () => {
  it.scopedLive("drains, disables and enables a backend", () =>
    Effect.gen(function* () {
      const backend = yield* named("a");
      const { here, program } = yield* running({ BACKENDS: listOf(backend), ADMIN_TOKEN: token });
      yield* program.healthy(1);
      const id = `127.0.0.1:${backend.port}`;
      for (const [choice, state, healthy] of [
        ["drain", "draining", 0],
        ["disable", "disabled", 0],
        ["enable", "up", 1],
      ] as const) {
        const { code, complaint, out } = yield* run(["backends", choice, id], here);
        assert.deepStrictEqual([code, complaint], [0, ""]);
        assert.include(lineOf(out, id), ` ${state} `);
        assert.strictEqual(lineOf(out, id).endsWith(" by 127.0.0.1"), choice !== "enable");
        yield* program.healthy(healthy);
      }
    }),
  );

  it.scopedLive("gives a backend another weight, and its listed one again", () =>
    Effect.gen(function* () {
      const backend = yield* named("a");
      const { here, program } = yield* running({
        BACKENDS: `${listOf(backend)} weight=3`,
        ADMIN_TOKEN: token,
      });
      yield* program.healthy(1);
      const id = `127.0.0.1:${backend.port}`;
      for (const [weight, healthy, shown] of [
        ["2", 1, / primary +2 .* weight by 127\.0\.0\.1 \(listed: 3\)$/],
        ["0", 0, / primary +0 .* weight by 127\.0\.0\.1 \(listed: 3\)$/],
        ["null", 1, / primary +3 [ \d.-]*$/],
      ] as const) {
        const { code, complaint, out } = yield* run(["backends", "weight", id, weight], here);
        assert.deepStrictEqual([code, complaint], [0, ""]);
        assert.match(lineOf(out, id), shown);
        yield* program.healthy(healthy);
      }
      for (const wrong of ["257", "-1", "1.5", "much", " 2"]) {
        const { code, complaint } = yield* run(["backends", "weight", id, "--", wrong], here);
        assert.strictEqual(code, 64);
        assert.include(complaint, `WEIGHT ${wrong}: accepted: a whole number from 0 to 256, or null`);
      }
      const unknown = yield* run(["backends", "weight", "nobody", "2"], here);
      assert.deepStrictEqual([unknown.code, /no backend nobody/.test(unknown.complaint)], [1, true]);
    }),
  );

  it.scopedLive("takes the beginning of an id, where no other begins so", () =>
    Effect.gen(function* () {
      const [one, two, three] = [yield* named("a"), yield* named("b"), yield* named("c")];
      const operator = yield* ScriptedOperator.make(
        ScriptedOperator.lists([
          ScriptedOperator.instance("0198d5f2-7c1e", one.port),
          ScriptedOperator.instance("0198aaaa-7c1e", two.port),
          ScriptedOperator.instance("0198aaaa", three.port),
        ]),
      );
      const { here, program } = yield* running({ OPERATOR_URL: operator.url, ADMIN_TOKEN: token });
      yield* program.healthy(3);
      const drain = (id: string) => run(["backends", "drain", id], here);
      const only = yield* drain("0198d5f2");
      assert.strictEqual(only.code, 0);
      assert.include(lineOf(only.out, "0198d5f2-7c1e"), " draining ");
      // One id is the beginning of another, and is meant itself.
      const exact = yield* drain("0198aaaa");
      assert.deepStrictEqual([exact.code, lineOf(exact.out, "0198aaaa ") !== ""], [0, true]);
      const several = yield* drain("0198");
      assert.strictEqual(several.code, 1);
      assert.match(several.complaint, /^load-balancer: 0198 is the beginning of several ids: 0198\S+, 0198/);
      // What a shell makes of a variable that is not set is the beginning of every id.
      assert.strictEqual((yield* drain("")).code, 64);
    }),
  );

  it.scopedLive("says what to do when it may not, or when there is no such backend", () =>
    Effect.gen(function* () {
      const backend = yield* named("a");
      const { here, program } = yield* running({ BACKENDS: listOf(backend), ADMIN_TOKEN: token });
      yield* program.healthy(1);
      const closed = yield* running({ BACKENDS: listOf(backend) });
      const drain = (id: string, environment: Environment) => run(["backends", "drain", id], environment);
      const id = `127.0.0.1:${backend.port}`;
      const said = [
        yield* drain(id, { ...here, ADMIN_TOKEN: "" }),
        yield* drain(id, { ...here, ADMIN_TOKEN: "another-token-of-some-length" }),
        yield* drain(id, { ...closed.here, ADMIN_TOKEN: token }),
        yield* drain("nobody", here),
      ];
      assert.deepStrictEqual(
        said.map(({ code }) => code),
        [64, 1, 1, 1],
      );
      const words = [
        /ADMIN_TOKEN is not set/,
        /started with another/,
        /steering is off/,
        /no backend nobody is listed: there are 127/,
      ];
      said.forEach(({ complaint }, i) => {
        assert.match(complaint, words[i] ?? /^$/);
        assert.lengthOf(lines(complaint), 1);
        assert.notInclude(complaint, "another-token");
      });
    }),
  );
});

describe("load-balancer", () => {
  it.live("--help lists every variable with its default", () =>
    Effect.gen(function* () {
      const { code, out } = yield* run(["--help"]);
      assert.strictEqual(code, 0);
      for (const { default: fallback, name } of variables) {
        assert.include(out, `\n${name} (default ${fallback ?? "none"})\n`);
      }
      for (const option of ["--help", "--version", "--completions"]) assert.include(out, option);
      assert.match(out, /^USAGE\n\n {2}load-balancer \[COMMAND\] /);
      assert.notInclude(out, escapeCharacter);
    }),
  );

  it.live("--version is that of the package", () =>
    Effect.gen(function* () {
      const { code, out } = yield* run(["--version"]);
      assert.strictEqual(code, 0);
      assert.match(out.trim(), /^\d+\.\d+\.\d+/);
    }),
  );

  it.live("completes for shells", () =>
    Effect.gen(function* () {
      for (const shell of ["bash", "zsh", "fish"]) {
        const { code, out } = yield* run(["--completions", shell]);
        assert.strictEqual(code, 0);
        for (const word of ["drain", "watch", "zeitwork-load-balancer"]) assert.include(out, word);
        for (const word of ["--wizard", "--log-level"]) assert.notInclude(out, word);
      }
    }),
  );

  for (const args of [
    ["connections", "cut"],
    ["connections", "--order", "fastest"],
    ["chekc"],
    ["--nope"],
    ["status", "--nope"],
    ["backends", "drain"],
    ["backends", "weight", "a"],
    ["status", "--url", "there"],
    ["--completions", "sh"],
  ]) {
    it.live(`${args.join(" ")} is refused in one line`, () =>
      Effect.gen(function* () {
        const { code, complaint, out } = yield* run(args);
        assert.deepStrictEqual([code, out], [64, ""]);
        assert.match(complaint, /^load-balancer: .+\n$/);
        assert.lengthOf(lines(complaint), 1);
      }),
    );
  }
});
