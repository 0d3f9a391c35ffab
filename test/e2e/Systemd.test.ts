import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { assert, describe, it } from "@effect/vitest";
import { Effect } from "effect";
import { ask, listOf, named, restartable, talk } from "../support/Backends.js";
import { blockable } from "../support/DataThreadFile.js";
import * as Real from "../support/RealServer.js";
import * as Program from "../support/RunningProgram.js";
import { blackHole } from "../support/StoppableServer.js";

const systemd = fileURLToPath(new URL("../support/systemd.py", import.meta.url));
const why = process.platform === "linux" ? Real.missing({ python3: "python3" }) : "for Linux only";

/** The program as systemd starts it; a `port` of -1 passes no socket, 0 is any free one. */
const service = (
  transport: string,
  environment: Readonly<Record<string, string>>,
  options: { readonly name?: string; readonly port?: number; readonly command?: ReadonlyArray<string> } = {},
) =>
  Effect.gen(function* () {
    const { command = [Program.executable], port = -1 } = options;
    const name = options.name ?? join(yield* Real.folder, "notify");
    const launched = yield* Program.launch(
      { ...Program.quick(transport), ...environment },
      { command: [Real.pathOf("python3"), systemd, name, String(port), ...command] },
    );
    /** What it said so far, in order. */
    const said = () =>
      launched
        .stdout()
        .split("\n")
        .flatMap((line) => (line.startsWith("systemd: ") ? [line.slice("systemd: ".length)] : []));
    const says = (words: RegExp, times = 1) =>
      Program.until(
        Effect.sync(() => {
          const found = said().filter((line) => words.test(line));
          return found.length >= times ? found[times - 1] : undefined;
        }),
      );
    return { ...launched, said, says };
  });

const portIn = (listening: Program.Line): number =>
  Number(String(listening.annotations["address"]).split(":").at(-1));

/** The warning that systemd hears nothing. */
const deaf = "systemd cannot be notified: give the unit Type=exec and no WatchdogSec=";

const portOf = (line: string): number => Number(line.split(" ")[1]);

describe.skipIf(why !== undefined)(`a service of systemd${why === undefined ? "" : ` (${why})`}`, () => {
  for (const abstract of [false, true]) {
    it.scopedLive(`is ready, tells how it is, and stops, over ${abstract ? "an abstract" : "a"} socket`, () =>
      Effect.gen(function* () {
        const backend = yield* restartable("a");
        const name = abstract ? { name: `@load-balancer-${process.pid}` } : {};
        const running = yield* service("node", { BACKENDS: listOf(backend), HEALTH_CHECK_FALL: "1" }, name);
        yield* running.says(/^told READY=1 STATUS=1 of 1 backend healthy, 0 connections open$/);
        yield* backend.stop;
        yield* running.says(/^told STATUS=0 of 1 backend healthy, 0 connections open$/);
        yield* running.signal("SIGTERM");
        assert.deepStrictEqual(yield* running.ended, { code: 0, signal: null });
        const end = running.said().filter((line) => /STOPPING=1|^ended/.test(line));
        assert.match(end.join("; "), /STOPPING=1/);
      }),
    );
  }

  it.scopedLive("is started with Node's debugger out of reach, where Node can do that", () =>
    Effect.gen(function* () {
      const unit = readFileSync(
        new URL("../../deployments/systemd/zeitwork-load-balancer.service", import.meta.url),
        "utf8",
      );
      const [, line = ""] = /^ExecStart=\/bin\/sh -c '(.*)'$/m.exec(unit) ?? [];
      // As systemd.service(5) reads it.
      const script = line.replaceAll("$$", "$").replace(/\S+\/load-balancer$/, Program.executable);
      const backend = yield* named("a");
      const running = yield* service(
        "node",
        { BACKENDS: listOf(backend), NODE_OPTIONS: "--no-warnings" },
        { command: ["/bin/sh", "-c", script] },
      );
      yield* running.says(/^told READY=1 /);
      const pid = Number(readFileSync(`/proc/${running.pid}/task/${running.pid}/children`, "utf8").trim());
      const options = /(?:^|\0)NODE_OPTIONS=([^\0]*)/.exec(readFileSync(`/proc/${pid}/environ`, "utf8"));
      const known = process.allowedNodeEnvironmentFlags.has("--disable-sigusr1");
      assert.strictEqual(options?.[1], `--no-warnings${known ? " --disable-sigusr1" : ""}`);
      process.kill(pid, "SIGUSR1");
      // With that option Node itself ignores SIGUSR1, and calls no listener (seen with 22, 24 and 26).
      if (!known) yield* running.awaitLogged("signal ignored", { signal: "SIGUSR1" });
      process.kill(pid, "SIGUSR2");
      yield* running.awaitLogged("signal ignored", { signal: "SIGUSR2" });
      assert.notInclude(running.stderr(), "Debugger listening");
    }),
  );

  it.scopedLive("is ready without a backend that does not answer its probe", () =>
    Effect.gen(function* () {
      const port = yield* blackHole;
      const running = yield* service("node", { BACKENDS: `127.0.0.1:${port}`, HEALTH_CHECK_TIMEOUT: "20s" });
      yield* running.awaitLogged("listening");
      yield* running.signal("SIGTERM");
      yield* running.ended;
      assert.notInclude(running.said().join(), "READY=1");
      const patient = yield* service("node", {
        BACKENDS: `127.0.0.1:${port}`,
        HEALTH_CHECK_TIMEOUT: "100ms",
      });
      yield* patient.says(/^told READY=1 /);
    }),
  );

  it.scopedLive("is ready when systemd was busy as it became so", () =>
    Effect.gen(function* () {
      const backend = yield* named("a");
      const running = yield* service("node", { BACKENDS: listOf(backend), BUSY: "1" });
      yield* running.awaitLogged("listening");
      yield* running.awaitLogged("backends checked");
      yield* running.signal("SIGUSR1");
      yield* running.says(/^told READY=1 STATUS=1 of 1 backend healthy, 0 connections open$/);
      assert.isEmpty(running.logged(deaf));
    }),
  );

  it.scopedLive("says so, once, when nobody listens to what it tells, and serves", () =>
    Effect.gen(function* () {
      const backend = yield* named("a");
      const nobody = join(yield* Real.folder, "nobody");
      const running = yield* Program.launch({
        ...Program.quick("node"),
        BACKENDS: listOf(backend),
        NOTIFY_SOCKET: nobody,
        WATCHDOG_USEC: "20000",
      });
      const listening = yield* running.awaitLogged("listening");
      yield* running.awaitLogged("backends checked");
      const why = `nothing can be sent to NOTIFY_SOCKET=${nobody}: ENOENT`;
      yield* running.awaitLogged(deaf, { why });
      assert.strictEqual(yield* ask(portIn(listening)), "a");
      yield* running.signal("SIGTERM");
      assert.deepStrictEqual(yield* running.ended, { code: 0, signal: null });
      assert.lengthOf(running.logged(deaf), 1);
    }),
  );

  it.scopedLive("gives no sign of life while a data thread takes no turns, and is started again", () =>
    Effect.gen(function* () {
      const folder = yield* Real.folder;
      const blocking = join(folder, "blocking");
      const script = join(folder, "blockable.cjs");
      writeFileSync(script, blockable(blocking));
      const running = yield* service("linux", {
        BACKENDS: listOf(yield* named("a")),
        LB_THREADS: "2",
        WATCHDOG_USEC: "3000000",
        ...Program.requiring(script),
      });
      yield* running.says(/^told READY=1 /);
      yield* running.says(/^watchdog$/);
      writeFileSync(blocking, "data thread 1");
      const line = yield* running.awaitLogged("a data thread does not answer", { thread: "data thread 1" });
      assert.strictEqual(line.logLevel, "WARN");
      yield* running.says(/^watchdog expired$/);
      rmSync(blocking);
      yield* running.says(/^told READY=1 /, 2);
      yield* running.says(/^watchdog$/, 2);
    }),
  );

  for (const transport of Program.transports) {
    it.scopedLive(`gives signs of life, and is started again when its loop is blocked, on ${transport}`, () =>
      Effect.gen(function* () {
        const backend = yield* named("a");
        const blocking = join(yield* Real.folder, "blocking.cjs");
        writeFileSync(blocking, 'process.on("SIGUSR2", () => { for (;;); });');
        const running = yield* service(
          transport,
          { BACKENDS: listOf(backend), WATCHDOG_USEC: "3000000" },
          { command: [process.execPath, "--require", blocking, Program.executable] },
        );
        yield* running.says(/^told READY=1 /);
        yield* running.says(/^watchdog$/);
        yield* running.signal("SIGUSR2");
        yield* running.says(/^watchdog expired$/);
        yield* running.says(/^told READY=1 /, 2);
      }),
    );

    it.scopedLive(`gives signs of life for as long as it drains, and says how long, on ${transport}`, () =>
      Effect.gen(function* () {
        const backend = yield* named("a");
        const running = yield* service(transport, {
          BACKENDS: listOf(backend),
          WATCHDOG_USEC: "3000000",
          SHUTDOWN_DELAY: "2s",
          DRAIN_TIMEOUT: "3s",
        });
        yield* running.says(/^told READY=1 /);
        yield* talk(portIn(yield* running.awaitLogged("listening")));
        yield* running.signal("SIGTERM");
        assert.deepStrictEqual(yield* running.ended, { code: 0, signal: null });
        const said = running.said();
        const stopping = said.indexOf("told STOPPING=1 EXTEND_TIMEOUT_USEC=15000000");
        assert.isAtLeast(stopping, 0, said.join("; "));
        assert.isNotEmpty(
          said.filter((line) =>
            /^told STATUS=stopping, 1 of 1 backend healthy, 1 connection open$/.test(line),
          ),
        );
        // 2 s of stopping and 3 s of draining, one each 1.5 s.
        assert.isAtLeast(said.slice(stopping).filter((line) => line === "told WATCHDOG=1").length, 2);
      }),
    );

    it.scopedLive(`refuses nobody over a restart, with a socket that systemd keeps, on ${transport}`, () =>
      Effect.gen(function* () {
        const backend = yield* named("a");
        const running = yield* service(transport, { BACKENDS: listOf(backend), PORT: "1" }, { port: 0 });
        const port = portOf(yield* running.says(/^port /));
        const listening = yield* running.awaitLogged("listening", { transport });
        assert.strictEqual(listening.annotations["address"], `127.0.0.1:${port}`);
        yield* running.says(/^told READY=1 /);
        // 200 a second, for as long as the restart takes and a second more.
        const asking = Effect.zipWith(Effect.fork(ask(port)), Effect.sleep("5 millis"), (fiber) => fiber);
        const before = yield* Effect.replicateEffect(asking, 40);
        yield* running.signal("SIGHUP");
        const during = yield* Effect.iterate([] as ReadonlyArray<(typeof before)[number]>, {
          while: () => running.said().filter((line) => line.startsWith("told READY=1 ")).length < 2,
          body: (fibers) => Effect.map(asking, (fiber) => [...fibers, fiber]),
        });
        const after = yield* Effect.replicateEffect(asking, 200);
        const answers = yield* Effect.forEach([...before, ...during, ...after], (fiber) => fiber.await);
        assert.isAbove(during.length, 20);
        for (const answer of answers) assert.deepStrictEqual(answer, answers[0]);
        assert.strictEqual(answers[0]?._tag, "Success");
        assert.include(running.said(), "ended 0");
      }),
    );

    it.scopedLive(`says what is wrong with a socket that cannot be listened on, on ${transport}`, () =>
      Effect.gen(function* () {
        const running = yield* Program.launch(
          { ...Program.quick(transport), BACKENDS: "127.0.0.1:1" },
          {
            command: [
              Real.pathOf("python3"),
              "-c",
              "import os, sys, socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); os.dup2(s.fileno(), 3); os.execve(sys.argv[1], sys.argv[1:], dict(os.environ, LISTEN_FDS='1', LISTEN_PID=str(os.getpid())))",
              Program.executable,
            ],
          },
        );
        assert.deepStrictEqual(yield* running.ended, { code: 1, signal: null });
        assert.match(
          running.stderr(),
          /^load-balancer: the socket that systemd passes .+ ListenStream=.+\n$/,
        );
      }),
    );
  }
});
