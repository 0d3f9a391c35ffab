import { execFileSync } from "node:child_process";
import { closeSync, constants, mkdtempSync, openSync, read as readPipe, readSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { assert, describe, it } from "@effect/vitest";
import { Chunk, Context, Effect, Exit, Layer, Logger, LogLevel, Scope, TestClock } from "effect";
import * as LogWriter from "../../src/log/LogWriter.js";

const fifo = Effect.map(
  Effect.acquireRelease(
    Effect.sync(() => mkdtempSync(join(tmpdir(), "load-balancer-log-"))),
    (folder) => Effect.sync(() => rmSync(folder, { recursive: true, force: true })),
  ),
  (folder) => {
    const path = join(folder, "pipe");
    execFileSync("mkfifo", [path]);
    return path;
  },
);

/** A pipe with both ends, and a writer on it. */
const piped = (options: LogWriter.Options = { journal: false }) =>
  Effect.gen(function* () {
    const path = yield* fifo;
    // Opened for both, it neither waits for a reader nor ends without one.
    const fd = openSync(path, "r+");
    yield* Effect.addFinalizer(() => Effect.sync(() => closeSync(fd)));
    const scope = yield* Scope.make();
    const context = yield* Layer.buildWithScope(LogWriter.layer(fd, options), scope);
    const { dropped, write } = Context.get(context, LogWriter.LogWriter);
    // Off the event loop, which the writer needs.
    const read = Effect.promise(async () => {
      const buffer = Buffer.alloc(65_536);
      const { bytesRead } = await promisify(readPipe)(fd, buffer, 0, buffer.length, null);
      return buffer.subarray(0, bytesRead).toString();
    });
    return {
      dropped,
      write: (text: string) => write(text, LogLevel.Info),
      read,
      service: { dropped, write },
      close: Scope.close(scope, Exit.void),
    };
  });

const turn = Effect.promise(() => new Promise((resolve) => setImmediate(resolve)));

/** Waits until something sleeps by the test's clock. */
const untilSleeping: Effect.Effect<void> = Effect.flatMap(TestClock.sleeps(), (sleeps) =>
  Chunk.isEmpty(sleeps) ? Effect.zipRight(turn, untilSleeping) : Effect.void,
);

/** What can be read without waiting; undefined when there is nothing. */
const readNow = (fd: number): string | undefined => {
  try {
    const buffer = Buffer.alloc(65_536);
    const length = readSync(fd, buffer);
    return length === 0 ? undefined : buffer.toString("utf8", 0, length);
  } catch {
    return undefined;
  }
};

describe("LogWriter", () => {
  it.scopedLive("writes every line in order, the last ones before its scope has closed", () =>
    Effect.gen(function* () {
      const { close, dropped, read, write } = yield* piped();
      for (let n = 0; n < 100; n++) write(`${n}\n`);
      yield* close;
      assert.deepStrictEqual(
        (yield* read).trim().split("\n"),
        Array.from({ length: 100 }, (_, n) => String(n)),
      );
      assert.strictEqual(dropped(), 0);
    }),
  );

  it.scopedLive("drops and counts what a reader that is stuck leaves no room for, and lets nobody wait", () =>
    Effect.gen(function* () {
      const { dropped, read, write } = yield* piped();
      const line = (n: number) => `${String(n).padStart(999, ".")}\n`;
      const count = 5_000;
      // Five megabytes into a pipe of 64 KiB: were it to wait, this would never end.
      for (let n = 0; n < count; n++) write(line(n));
      assert.isAbove(dropped(), 3_000);
      let text = "";
      const kept = count - dropped();
      while (text.length < kept * 1_000) {
        text += yield* read;
      }
      assert.strictEqual(text, Array.from({ length: kept }, (_, n) => line(n)).join(""));
      write("again\n");
      assert.strictEqual(yield* read, "again\n");
    }),
  );

  it.scopedLive(
    "writes for people too, with the annotations under their message, and no colours unasked",
    () =>
      Effect.gen(function* () {
        const { read, service } = yield* piped();
        yield* Effect.logWarning("it is down").pipe(
          Effect.annotateLogs({ why: "it refused", times: 3 }),
          Effect.provide(LogWriter.pretty(false)),
          Effect.provideService(LogWriter.LogWriter, service),
        );
        let text = "";
        while (!text.includes("times")) text += yield* read;
        assert.match(text, /^\[[0-9:.]+\] WARN \(#\d+\): it is down\n( {2}(why: it refused|times: 3)\n){2}$/);
      }),
  );

  it.scoped("goes on after a write has failed, and loses nothing that its queue holds", () =>
    Effect.gen(function* () {
      const path = yield* fifo;
      const reader = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
      const fd = openSync(path, constants.O_WRONLY | constants.O_NONBLOCK);
      yield* Effect.addFinalizer(() => Effect.sync(() => closeSync(fd)));
      const { dropped, write } = Context.get(
        yield* Layer.build(LogWriter.layer(fd, { journal: false })),
        LogWriter.LogWriter,
      );
      closeSync(reader);
      write("while nobody reads\n", LogLevel.Info);
      yield* untilSleeping;
      write("while the writer waits\n", LogLevel.Info);
      const again = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
      yield* Effect.addFinalizer(() => Effect.sync(() => closeSync(again)));
      yield* TestClock.adjust("1 second");
      let text = "";
      while (!text.endsWith("waits\n")) {
        text += readNow(again) ?? "";
        yield* turn;
      }
      assert.strictEqual(text, "while nobody reads\nwhile the writer waits\n");
      assert.strictEqual(dropped(), 0);
    }),
  );

  it.scoped("does not wait at the end for a descriptor that fails", () =>
    Effect.gen(function* () {
      const fd = openSync("/dev/full", "w");
      yield* Effect.addFinalizer(() => Effect.sync(() => closeSync(fd)));
      const scope = yield* Scope.make();
      const context = yield* Layer.buildWithScope(LogWriter.layer(fd, { journal: false }), scope);
      Context.get(context, LogWriter.LogWriter).write("no space\n", LogLevel.Info);
      yield* untilSleeping;
      const closed = yield* Effect.fork(Scope.close(scope, Exit.void));
      yield* TestClock.adjust("250 millis");
      yield* closed.await;
    }),
  );

  it.scopedLive("begins each line with its priority where the journal reads it", () =>
    Effect.gen(function* () {
      const { close, read, service } = yield* piped({ journal: true });
      const log = Effect.zipRight(Effect.logError("it is\ndown"), Effect.logDebug("seen")).pipe(
        Logger.withMinimumLogLevel(LogLevel.Debug),
        Effect.annotateLogs({ why: "it refused" }),
      );
      const write = Effect.provideService(LogWriter.LogWriter, service);
      yield* write(Effect.provide(log, LogWriter.json));
      yield* write(Effect.provide(log, LogWriter.pretty(false)));
      yield* close;
      const lines = (yield* read).trimEnd().split("\n");
      assert.match(lines[0] ?? "", /^<3>\{.*it is\\ndown/);
      assert.match(lines[1] ?? "", /^<7>\{/);
      assert.deepStrictEqual(
        lines.slice(2).map((line) => line.slice(0, 3)),
        ["<3>", "<3>", "<3>", "<7>", "<7>"],
      );
    }),
  );
});
