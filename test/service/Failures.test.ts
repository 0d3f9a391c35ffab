import { assert, describe, layer } from "@effect/vitest";
import { Effect } from "effect";
import { ask, listOf, named, talk } from "../support/Backends.js";
import { eventually, Host, unavailable, withPackage } from "./Host.js";
import { configured, type Service, unit } from "./Service.js";

/** Runs a script before the program, in the main thread and in each data thread. It finds the file at `flag`, or not. */
const before = (code: string) =>
  Effect.gen(function* () {
    const { run, write } = yield* Host;
    yield* run("rm -f /run/flag");
    yield* write(
      "/usr/local/lib/before.cjs",
      `const { existsSync } = require("node:fs");
      const { isMainThread, workerData } = require("node:worker_threads");
      const flagged = () => existsSync("/run/flag");
      ${code}`,
    );
    return { NODE_OPTIONS: "--require=/usr/local/lib/before.cjs" };
  });

/** Waits until another process serves. */
const back = (service: Service, pid: number) =>
  eventually(
    Effect.zipWith(
      service.pid,
      service.property("ActiveState"),
      (now, state) => now !== 0 && now !== pid && state === "active",
    ),
  );

describe.skipIf(unavailable !== undefined)(`the service${unavailable ? ` (${unavailable})` : ""}`, () => {
  layer(withPackage, { excludeTestServices: true, timeout: "5 minutes" })("in trouble", (it) => {
    it.scoped("is back after it was killed", () =>
      Effect.gen(function* () {
        const host = yield* Host;
        const backend = yield* named("a");
        const service = yield* configured({ BACKENDS: listOf(backend) });
        yield* service.start;
        const pid = yield* service.pid;
        yield* host.run(`kill -KILL ${pid}`);
        yield* back(service, pid);
        yield* service.says(/^.*: Main process exited, code=killed, status=9\/KILL$/);
        assert.strictEqual(yield* service.property("NRestarts"), "1");
        assert.strictEqual(yield* ask(8082), "a");
      }),
    );

    it.scoped("is ended by the watchdog and back after it was stopped", () =>
      Effect.gen(function* () {
        const host = yield* Host;
        const backend = yield* named("a");
        const service = yield* configured({ BACKENDS: listOf(backend) }, { service: ["WatchdogSec=2s"] });
        yield* service.start;
        const pid = yield* service.pid;
        yield* host.run(`kill -STOP ${pid}`);
        yield* back(service, pid);
        yield* service.says(/^.*: Watchdog timeout \(limit 2s\)!$/);
        yield* service.says(/^.*: Main process exited, code=(killed|dumped), status=6\/ABRT$/);
        assert.strictEqual(yield* ask(8082), "a");
      }),
    );

    it.scoped("is ended by the watchdog's first signal and back after its loop has blocked for ever", () =>
      Effect.gen(function* () {
        const host = yield* Host;
        const backend = yield* named("a");
        const endless = yield* before(
          "if (isMainThread) setInterval(() => { while (flagged()); }, 10).unref();",
        );
        const service = yield* configured(
          { BACKENDS: listOf(backend), ...endless },
          // Where that signal does not end it, the next one comes too late for this test.
          { service: ["WatchdogSec=2s", "TimeoutAbortSec=1h"] },
        );
        yield* service.start;
        const pid = yield* service.pid;
        yield* host.run("touch /run/flag");
        yield* service.says(/^.*: Watchdog timeout \(limit 2s\)!$/);
        yield* service.says(/^.*: Main process exited, code=(killed|dumped), status=6\/ABRT$/);
        yield* host.run("rm /run/flag");
        yield* back(service, pid);
        assert.strictEqual(yield* ask(8082), "a");
      }),
    );

    it.scoped("goes on when a data thread runs out of memory, and starts another", () =>
      Effect.gen(function* () {
        const host = yield* Host;
        const backend = yield* named("a");
        const { NODE_OPTIONS } = yield* before(`
          const now = performance.now.bind(performance);
          if (!isMainThread) performance.now = () => {
            for (const all = []; flagged(); ) all.push(new Array(100_000).fill(0.5));
            return now();
          };`);
        const service = yield* configured({
          BACKENDS: listOf(backend),
          LB_THREADS: "1",
          NODE_OPTIONS: `${NODE_OPTIONS} --max-old-space-size=64`,
        });
        yield* service.start;
        const pid = yield* service.pid;
        yield* host.run("touch /run/flag");
        yield* service.says(/"a data thread has ended: .*"why":".*memory/);
        yield* host.run("rm /run/flag");
        yield* service.says(/"a data thread was started in its place"/);
        assert.strictEqual(yield* ask(8082), "a");
        assert.strictEqual(yield* service.pid, pid);
      }),
    );

    it.scoped("serves in turn whom it has no descriptors for at once", () =>
      Effect.gen(function* () {
        const backend = yield* named("a");
        const service = yield* configured({ BACKENDS: listOf(backend) }, { service: ["LimitNOFILE=64"] });
        yield* service.start;
        const pid = yield* service.pid;
        // One of them alone takes more than that at both ends.
        const answers = yield* Effect.all(
          Array.from({ length: 100 }, () => ask(8082)),
          { concurrency: "unbounded" },
        );
        assert.deepStrictEqual([...new Set(answers)], ["a"]);
        const { status } = yield* Effect.promise(() => fetch("http://127.0.0.1:8083/readyz"));
        assert.strictEqual(status, 200);
        assert.strictEqual(yield* service.pid, pid);
      }),
    );

    it.scoped("drains for as long as DRAIN_TIMEOUT allows, whatever TimeoutStopSec= is", () =>
      Effect.gen(function* () {
        const backend = yield* named("a");
        const service = yield* configured(
          { BACKENDS: listOf(backend), DRAIN_TIMEOUT: "1h" },
          { service: ["TimeoutStopSec=1s"] },
        );
        yield* service.start;
        const client = yield* talk(8082);
        yield* service.systemctl(`stop --no-block ${unit}`);
        yield* service.says(/"draining"/);
        // Three times as long as systemd would wait.
        yield* Effect.sleep("3 seconds");
        assert.strictEqual(yield* client.says("still here"), "still here");
        assert.strictEqual(yield* service.property("ActiveState"), "deactivating");
        client.socket.end();
        yield* eventually(Effect.map(service.property("ActiveState"), (state) => state === "inactive"));
        assert.strictEqual(yield* service.property("Result"), "success");
        assert.strictEqual(yield* service.property("ExecMainStatus"), "0");
      }),
    );
  });
});
