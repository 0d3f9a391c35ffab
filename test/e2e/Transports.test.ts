import { once } from "node:events";
import { Worker } from "node:worker_threads";
import { assert, describe, it } from "@effect/vitest";
import { Effect, Schema } from "effect";
import { Status } from "../../src/monitoring/Api.js";
import { ask, listOf, named } from "../support/Backends.js";
import * as Program from "../support/RunningProgram.js";

const built = (path: string): string => JSON.stringify(new URL(`../../dist/${path}`, import.meta.url).href);

/** Tells the name of the transport that it could make. */
const inWorker = `(async () => {
  const { Effect } = await import("effect");
  const { layer } = await import(${built("transport/linux/LinuxTransport.js")});
  const { Transport } = await import(${built("transport/Transport.js")});
  const name = Effect.map(Transport, ({ name }) => name);
  require("node:worker_threads").parentPort.postMessage(await Effect.runPromise(Effect.provide(name, layer)));
})()`;

/** A system for which there is no binary of koffi's: none can be loaded. */
const withoutKoffi = Program.preloading(
  'process.dlopen = () => { throw new Error("no binary for this system"); };',
);

describe.runIf(process.platform === "linux")("LB_TRANSPORT", () => {
  it.scopedLive("is Linux's by itself where that runs", () =>
    Effect.gen(function* () {
      const program = yield* Program.start("auto", { BACKENDS: listOf(yield* named("a")) });
      assert.strictEqual((yield* program.awaitLogged("listening")).annotations["transport"], "linux");
      assert.lengthOf(program.logged("Node's sockets are used"), 0);
      yield* program.healthy(1);
      assert.strictEqual(yield* ask(program.port), "a");
    }),
  );

  it.scopedLive("is Node's by itself where Linux's cannot be loaded, and says why once", () =>
    Effect.gen(function* () {
      const program = yield* Program.start("auto", {
        BACKENDS: listOf(yield* named("a")),
        ...withoutKoffi,
      });
      assert.strictEqual((yield* program.awaitLogged("listening")).annotations["transport"], "node");
      const lines = program.logged("Node's sockets are used");
      assert.lengthOf(lines, 1);
      assert.match(
        String(lines[0]?.annotations["why"]),
        /koffi cannot be loaded.*no binary for this system/s,
      );
      yield* program.healthy(1);
      assert.strictEqual(yield* ask(program.port), "a");
    }),
  );

  it.scopedLive("ends the start when Linux's is asked for and cannot be loaded", () =>
    Effect.gen(function* () {
      const program = yield* Program.launch({
        ...Program.quick("linux"),
        BACKENDS: "127.0.0.1:1",
        ...withoutKoffi,
      });
      assert.deepStrictEqual(yield* program.ended, { code: 1, signal: null });
      assert.match(
        program.stdout() + program.stderr(),
        /koffi cannot be loaded.*set LB_TRANSPORT to auto or node/s,
      );
    }),
  );

  it.scopedLive("is Linux's where io_uring is asked for and not allowed here, and says why", () =>
    Effect.gen(function* () {
      const program = yield* Program.start("io_uring", { BACKENDS: listOf(yield* named("a")) });
      const { transport } = (yield* program.awaitLogged("listening")).annotations;
      const lines = program.logged("epoll is used in place of io_uring");
      assert.strictEqual(transport, lines.length === 0 ? "io_uring" : "linux");
      yield* program.healthy(1);
      assert.strictEqual(yield* ask(program.port), "a");
    }),
  );

  it.scopedLive("moves bytes in data threads where LB_THREADS asks for them, and ends them at the end", () =>
    Effect.gen(function* () {
      const program = yield* Program.start("linux", {
        BACKENDS: listOf(yield* named("a"), yield* named("b")),
        LB_THREADS: "2",
      });
      assert.strictEqual((yield* program.awaitLogged("data threads started")).annotations["threads"], 2);
      yield* program.healthy(2);
      const answers: Array<string> = [];
      for (let i = 0; i < 4; i++) answers.push(yield* ask(program.port));
      assert.deepStrictEqual(answers.sort(), ["a", "a", "b", "b"]);
      const metrics = yield* Effect.promise(async () => {
        const answer = await fetch(`http://127.0.0.1:${program.healthPort}/metrics`);
        return answer.text();
      });
      const sumOf = (name: string) =>
        [...metrics.matchAll(new RegExp(`^${name}{thread="data thread [01]"} (.*)$`, "gm"))].reduce(
          (sum, [, value]) => sum + Number(value),
          0,
        );
      assert.include(metrics, "lb_threads 2\n");
      // Each connection takes an order and what came of it, in two or more turns.
      assert.isAtLeast(sumOf("lb_thread_turns_total"), 8);
      assert.isAtLeast(sumOf("lb_thread_waits_total"), 4);
      assert.isAbove(sumOf("lb_thread_cpu_seconds_total"), 0);
      const { data_threads: threads } = Schema.decodeUnknownSync(Status)(
        (yield* program.get("/status")).body,
      );
      assert.deepStrictEqual(threads.map(({ name }) => name).sort(), ["data thread 0", "data thread 1"]);
      for (const { cpu_seconds } of threads) assert.isAbove(Number(cpu_seconds), 0);
      // One that had no connection may not have taken a turn yet.
      assert.isAtLeast(
        threads.reduce((sum, { turns }) => sum + turns, 0),
        8,
      );
      yield* program.signal("SIGTERM");
      assert.deepStrictEqual(yield* program.ended, { code: 0, signal: null });
    }),
  );

  it.scopedLive("does not take a process that stood still for data threads that do not answer", () =>
    Effect.gen(function* () {
      const program = yield* Program.start("linux", { BACKENDS: listOf(yield* named("a")), LB_THREADS: "2" });
      const threads = Effect.map(
        program.get("/status"),
        ({ body }) => Schema.decodeUnknownSync(Status)(body).data_threads,
      );
      yield* program.signal("SIGSTOP");
      yield* Effect.sleep("8 seconds");
      yield* program.signal("SIGCONT");
      const before = yield* threads;
      // Each takes one in a second, and is looked at as often.
      yield* Program.untilTrue(
        Effect.map(threads, (now) => now.every(({ turns }, i) => turns >= Number(before[i]?.turns) + 4)),
      );
      assert.isTrue((yield* threads).every(({ responsive }) => responsive));
      assert.lengthOf(program.logged("a data thread does not answer"), 0);
    }),
  );

  it.scopedLive("has no data threads where auto is Node's, and warns", () =>
    Effect.gen(function* () {
      const program = yield* Program.start("auto", {
        BACKENDS: listOf(yield* named("a")),
        LB_THREADS: "2",
        ...withoutKoffi,
      });
      assert.strictEqual((yield* program.awaitLogged("listening")).annotations["transport"], "node");
      const lines = program.logged("Node's sockets are used, and no data threads");
      assert.deepStrictEqual(
        lines.map(({ logLevel }) => logLevel),
        ["WARN"],
      );
      yield* program.healthy(1);
      assert.strictEqual(yield* ask(program.port), "a");
    }),
  );

  it.live("Linux's runs in a worker thread too, as its self-test says", () =>
    Effect.gen(function* () {
      const worker = new Worker(inWorker, { eval: true });
      // Both from now on: it may be gone in the turn in which it tells.
      const [reported, ended] = yield* Effect.promise(() =>
        Promise.all([once(worker, "message"), once(worker, "exit")]),
      );
      assert.deepStrictEqual([reported, ended], [["linux"], [0]]);
    }),
  );
});
