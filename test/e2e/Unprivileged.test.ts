import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { assert, describe, it } from "@effect/vitest";
import { Effect } from "effect";
import { ask, listOf, named } from "../support/Backends.js";
import * as Real from "../support/RealServer.js";
import * as Program from "../support/RunningProgram.js";
import { dial, receive, sendBulk, serve } from "../support/Sockets.js";

/** Nobody, by the number that every Linux has for it. */
const nobody: Program.User = { uid: 65_534, gid: 65_534 };

const reads = (): boolean =>
  spawnSync(process.execPath, [Program.executable, "--version"], { ...nobody, timeout: 60_000 }).status === 0;

const why = ((): string | undefined => {
  if (process.platform !== "linux") return "for Linux only";
  if (process.getuid?.() !== 0) return "only root can run it as somebody else";
  return reads() ? Real.missing({ prlimit: "util-linux" }) : "nobody cannot read the build or Node";
})();

const bulk = 8 * 1024 * 1024;

/** The lines that tell of limits. */
const shortages = (running: Program.Launched) =>
  running.log().filter(({ message }) => message.includes("the system allows too"));

describe.skipIf(why !== undefined)(
  `as a user without privileges${why === undefined ? "" : ` (${why})`}`,
  () => {
    for (const transport of ["linux", "io_uring"]) {
      it.scopedLive(`data threads carry small traffic and bulk, on ${transport}`, () =>
        Effect.gen(function* () {
          const echo = yield* serve((socket) => socket.pipe(socket));
          const program = yield* Program.start(
            transport,
            { BACKENDS: listOf(echo), LB_THREADS: "2" },
            { user: nobody },
          );
          yield* program.healthy(1);
          const status = readFileSync(`/proc/${program.pid}/status`, "utf8");
          assert.match(status, /^Uid:\s+65534\s+65534\s/m);
          assert.match(status, /^CapEff:\s+0+$/m);
          const said = yield* program.awaitLogged("listening");
          const refused = program.logged("epoll is used in place of io_uring");
          assert.strictEqual(said.annotations["transport"], refused.length === 0 ? transport : "linux");
          const clients = yield* Effect.replicateEffect(dial(program.port), 6);
          const received = clients.map((client) => receive(client));
          for (const client of clients.slice(0, 3)) client.end("a few bytes");
          for (const client of clients.slice(3)) sendBulk(client, bulk);
          const ends = yield* Effect.promise(() => Promise.all(received));
          assert.deepStrictEqual(
            ends.map(({ bytes, end }) => [bytes.length, end]),
            [11, 11, 11, bulk, bulk, bulk].map((length) => [length, "fin"]),
          );
        }),
      );
    }

    it.scopedLive("io_uring says which limit keeps it from locking memory, and epoll is used", () =>
      Effect.gen(function* () {
        const program = yield* Program.start(
          "io_uring",
          { BACKENDS: listOf(yield* named("a")), LB_THREADS: "2" },
          { user: nobody, command: [Real.pathOf("prlimit"), "--memlock=65536", Program.executable] },
        );
        yield* program.healthy(1);
        assert.strictEqual(yield* ask(program.port), "a");
        const refused = program
          .logged("epoll is used in place of io_uring")
          .filter(({ annotations }) => String(annotations["why"]).includes("ENOMEM"));
        // Whether a ring counts as locked memory is the kernel's: some versions leave it to control groups.
        assert.lengthOf(shortages(program), refused.length);
        for (const { annotations, logLevel } of shortages(program)) {
          assert.strictEqual(logLevel, "WARN");
          assert.strictEqual(annotations["allowed"], "64 KiB");
          assert.strictEqual(annotations["needed"], "1536 KiB");
          assert.match(String(annotations["cure"]), /^LimitMEMLOCK=1536K .*ulimit -l 1536/);
        }
      }),
    );
  },
);
