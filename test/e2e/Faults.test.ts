import { createHash, randomBytes } from "node:crypto";
import type * as net from "node:net";
import { assert, describe, it } from "@effect/vitest";
import { Effect, Exit } from "effect";
import { ask, exchange, listOf, named, restartable, talk } from "../support/Backends.js";
import * as Ports from "../support/Ports.js";
import * as Real from "../support/RealServer.js";
import * as Program from "../support/RunningProgram.js";
import { dial, receive, serve } from "../support/Sockets.js";

const sha256 = (bytes: Buffer): string => createHash("sha256").update(bytes).digest("hex");

const idle = (program: Program.Program) =>
  Program.untilTrue(
    Effect.map(program.backends, (list) => list.every(({ connections }) => connections === 0)),
  );

const python = Real.missing({ python3: "python3" });

/** Runs a command on a terminal that shows nothing any more, as after Ctrl-S. */
const onStoppedTerminal = `
import os, pty, sys
shown, terminal = pty.openpty()
os.set_inheritable(shown, True)
os.dup2(terminal, 1)
os.execvp(sys.argv[1], sys.argv[1:])
`;

for (const transport of Program.transports) {
  describe(`faults on ${transport}`, () => {
    // Node's sockets have no SO_LINGER that could be set ahead.
    const killed = (settings: Readonly<Record<string, string>>, seen: "reset" | "fin") =>
      Effect.gen(function* () {
        const backend = yield* serve((socket) => void socket.write("part of an answer"));
        const program = yield* Program.start(transport, {
          BACKENDS: `127.0.0.1:${backend.port}`,
          ...settings,
        });
        yield* program.healthy(1);
        const client = yield* dial(program.port);
        const answer = receive(client);
        yield* Program.untilTrue(
          Effect.map(program.backends, () => client.bytesRead === "part of an answer".length),
        );
        yield* program.signal("SIGKILL");
        const { bytes, end } = yield* Effect.promise(() => answer);
        assert.deepStrictEqual([bytes.toString(), end], ["part of an answer", seen]);
      });

    it.scopedLive.skipIf(transport === "node")(
      "killed, it resets its clients: nobody takes a part of an answer for all of it",
      () => killed({}, "reset"),
    );

    it.scopedLive("killed with RESET_ON_CRASH=false, or on node, it ends a young connection in order", () =>
      killed({ RESET_ON_CRASH: "false" }, "fin"),
    );

    describe.skipIf(python !== undefined)("on a terminal that is stopped", () => {
      /** The program, when it has told more than the terminal takes: 4 KiB, which is a dozen connections. */
      const stopped = Effect.gen(function* () {
        const backend = yield* named("a");
        const port = yield* Ports.unused;
        const program = yield* Program.launch(
          {
            ...Program.quick(transport),
            BACKENDS: listOf(backend),
            PORT: String(port),
            ENVIRONMENT: "development",
            ACCESS_LOG: "all",
          },
          { command: [Real.pathOf("python3"), "-c", onStoppedTerminal, Program.executable] },
        );
        yield* Program.untilTrue(Effect.map(Effect.exit(ask(port)), Exit.isSuccess));
        for (let i = 0; i < 200; i++) assert.strictEqual(yield* ask(port), "a");
        return program;
      });

      it.scopedLive("serves on", () => stopped);

      it.scopedLive("ends at SIGTERM, without waiting for the terminal", () =>
        Effect.gen(function* () {
          const program = yield* stopped;
          yield* program.signal("SIGTERM");
          assert.deepStrictEqual(yield* program.ended, { code: 0, signal: null });
        }),
      );
    });

    it.scopedLive("resets clients at once while no backend is healthy, and warns of the first of many", () =>
      Effect.gen(function* () {
        const program = yield* Program.start(transport, { BACKENDS: `127.0.0.1:${yield* Ports.unused}` });
        yield* program.awaitLogged("backend is down");
        for (let i = 0; i < 50; i++) {
          assert.strictEqual((yield* exchange(program.port, undefined)).end, "reset");
        }
        yield* program.awaitLogged("connection refused", { why: "no healthy backend" });
        assert.isBelow(program.logged("connection refused").length, 50);
      }),
    );

    it.scopedLive("gives a client to another backend when its first refuses, with what it has sent", () =>
      Effect.gen(function* () {
        const goes = yield* restartable("goes");
        const stays = yield* named("stays");
        const program = yield* Program.start(transport, {
          BACKENDS: listOf(goes, stays),
          // Only clients find out that it is gone.
          HEALTH_CHECK_INTERVAL: "1h",
          HEALTH_CHECK_FALL: "1000",
        });
        yield* program.healthy(2);
        yield* goes.stop;
        for (let i = 0; i < 4; i++) assert.strictEqual(yield* ask(program.port), "stays");
        yield* program.awaitLogged("backend could not be connected to");
        yield* program.healthy(2);
      }),
    );

    it.scopedLive("hands a reset of one side on to the other", () =>
      Effect.gen(function* () {
        const backend = yield* named("a");
        const program = yield* Program.start(transport, { BACKENDS: listOf(backend) });
        yield* program.healthy(1);
        const first = yield* talk(program.port);
        const [served] = backend.clients;
        const atClient = receive(first.socket);
        served?.resetAndDestroy();
        assert.strictEqual((yield* Effect.promise(() => atClient)).end, "reset");

        yield* Program.untilTrue(Effect.sync(() => backend.clients.size === 0));
        const second = yield* talk(program.port);
        const [other] = backend.clients;
        const atBackend = receive(other as net.Socket /* it answered */);
        second.socket.resetAndDestroy();
        assert.strictEqual((yield* Effect.promise(() => atBackend)).end, "reset");
        yield* idle(program);
      }),
    );

    it.scopedLive("outlives running out of descriptors, without spinning, and says so", () =>
      Effect.gen(function* () {
        const backend = yield* named("a");
        const program = yield* Program.start(
          transport,
          { BACKENDS: listOf(backend) },
          // Node needs more than 128 to load the program's modules.
          { command: ["bash", "-c", 'ulimit -n 256; exec "$0"', Program.executable] },
        );
        yield* program.healthy(1);
        const probes = Effect.map(program.get("/backends"), ({ body }) => JSON.stringify(body));
        /** What twenty rounds of health checks take of the processor, in ticks of the kernel's clock. */
        const twentyRounds = Effect.gen(function* () {
          const before = program.ticks();
          let last = yield* probes;
          for (let rounds = 0; rounds < 20; rounds++) {
            last = yield* Program.until(Effect.map(probes, (now) => (now === last ? undefined : now)));
          }
          return program.ticks() - before;
        });
        const undisturbed = yield* twentyRounds;
        const clients = yield* Effect.forEach(Array.from({ length: 300 }), () => dial(program.port));
        // Node closes those for whom there is no place.
        const count = transport === "node" ? "refused in all" : "failed in all";
        const said = yield* Program.until(
          Effect.sync(() => program.log().find(({ annotations }) => annotations[count] !== undefined)),
        );
        assert.strictEqual(said.logLevel, "WARN");
        // A loop that spins takes all of the time between two rounds, which is many times what they take themselves.
        assert.isBelow(yield* twentyRounds, 3 * undisturbed + 20);
        for (const client of clients) client.destroy();
        yield* idle(program);
        assert.strictEqual(yield* ask(program.port), "a");
      }),
    );

    it.scopedLive("goes on when nobody reads its log any more", () =>
      Effect.gen(function* () {
        const backend = yield* named("a");
        const program = yield* Program.start(transport, { BACKENDS: listOf(backend), LOG_LEVEL: "debug" });
        yield* program.healthy(1);
        yield* program.hangUp;
        for (let i = 0; i < 20; i++) assert.strictEqual(yield* ask(program.port), "a");
        assert.strictEqual((yield* program.get("/livez")).status, 200);
      }),
    );

    it.scopedLive("has no descriptor and no count left after 500 connections of all kinds", () =>
      Effect.gen(function* () {
        const backend = yield* named("a");
        const program = yield* Program.start(transport, {
          BACKENDS: listOf(backend),
          HEALTH_CHECK_INTERVAL: "1h",
        });
        yield* program.healthy(1);
        yield* ask(program.port);
        yield* idle(program);
        const before = program.descriptors();
        const kinds = [
          ask(program.port),
          Effect.scoped(Effect.map(talk(program.port), ({ socket }) => socket.resetAndDestroy())),
          Effect.scoped(Effect.map(dial(program.port), (socket) => socket.end())),
          Effect.scoped(Effect.map(dial(program.port), (socket) => socket.destroy())),
          Effect.scoped(talk(program.port)),
        ];
        yield* Effect.forEach(Array.from({ length: 100 }), () => Effect.all(kinds, { discard: true }), {
          concurrency: 10,
          discard: true,
        });
        yield* idle(program);
        yield* Program.untilTrue(Effect.sync(() => program.descriptors() <= before));
      }),
    );

    it.scopedLive(
      "holds back a sender whose receiver does not read: 100 MB arrive whole, in less than 30 MB",
      () =>
        Effect.gen(function* () {
          const block = randomBytes(1024 * 1024);
          const total = 100;
          const expected = createHash("sha256");
          for (let i = 0; i < total; i++) expected.update(block);
          const whole = expected.digest("hex");
          const source = yield* serve((socket) => {
            socket.once("data", () => {
              let left = total;
              const send = (): void => {
                while (left > 0) {
                  left -= 1;
                  if (!socket.write(block)) return;
                }
                socket.end();
              };
              socket.on("drain", send);
              send();
            });
            socket.on("end", () => socket.end());
          });
          const program = yield* Program.start(transport, {
            BACKENDS: listOf(source),
            HEALTH_CHECK_INTERVAL: "1h",
          });
          yield* program.healthy(1);
          const download = (before: Effect.Effect<void>) =>
            Effect.gen(function* () {
              const client = yield* dial(program.port);
              client.write("go");
              yield* before;
              const actual = createHash("sha256");
              yield* Effect.promise(async () => {
                for await (const chunk of client) actual.update(chunk);
              });
              assert.strictEqual(actual.digest("hex"), whole);
            });
          // What 100 MB leave behind on their way, in a heap that nobody has swept yet, is not what is asked for.
          yield* download(Effect.void);
          const before = program.mostMemory();
          // This is: a client that does not read until the sender has been at the same place for a while.
          let last = 0;
          let still = 0;
          yield* download(
            Program.untilTrue(
              Effect.sync(() => {
                const sending = [...source.sockets].filter(({ writableLength }) => writableLength > 0);
                const now = sending.reduce(
                  (sum, { bytesWritten, writableLength }) => sum + bytesWritten - writableLength,
                  0,
                );
                still = sending.length > 0 && now === last ? still + 1 : 0;
                last = now;
                return still === 50;
              }),
            ),
          );
          assert.isBelow(program.mostMemory() - before, 30 * 1024 * 1024);
        }),
    );

    it.scopedLive("carries 300 streams of random sizes at once, byte for byte", () =>
      Effect.gen(function* () {
        const echo = yield* serve((socket) => socket.pipe(socket));
        const program = yield* Program.start(transport, { BACKENDS: listOf(echo) });
        yield* program.healthy(1);
        yield* Effect.forEach(
          Array.from({ length: 300 }),
          () =>
            Effect.gen(function* () {
              const bytes = randomBytes(Math.floor(Math.random() * 200_000));
              const socket = yield* dial(program.port);
              const received = receive(socket);
              socket.end(bytes);
              const { bytes: back, end } = yield* Effect.promise(() => received);
              assert.strictEqual(end, "fin");
              assert.strictEqual(sha256(back), sha256(bytes));
            }),
          { concurrency: "unbounded", discard: true },
        );
        yield* idle(program);
      }),
    );
  });
}
