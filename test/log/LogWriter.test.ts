import { execFileSync } from "node:child_process";
import { closeSync, mkdtempSync, openSync, read as readPipe, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { assert, describe, it } from "@effect/vitest";
import { Context, Effect, Exit, Layer, Scope } from "effect";
import * as LogWriter from "../../src/log/LogWriter.js";

/** A pipe with both ends, and a writer on it. */
const piped = Effect.gen(function* () {
  const folder = mkdtempSync(join(tmpdir(), "load-balancer-log-"));
  const path = join(folder, "pipe");
  execFileSync("mkfifo", [path]);
  // Opened for both, it neither waits for a reader nor ends without one.
  const fd = openSync(path, "r+");
  yield* Effect.addFinalizer(() =>
    Effect.sync(() => {
      closeSync(fd);
      rmSync(folder, { recursive: true, force: true });
    }),
  );
  const scope = yield* Scope.make();
  const context = yield* Layer.buildWithScope(LogWriter.layer(fd), scope);
  // Off the event loop, which the writer needs.
  const read = Effect.promise(async () => {
    const buffer = Buffer.alloc(65_536);
    const { bytesRead } = await promisify(readPipe)(fd, buffer, 0, buffer.length, null);
    return buffer.subarray(0, bytesRead).toString();
  });
  return { writer: Context.get(context, LogWriter.LogWriter), read, close: Scope.close(scope, Exit.void) };
});

describe("LogWriter", () => {
  it.scopedLive("writes every line in order, the last ones before its scope has closed", () =>
    Effect.gen(function* () {
      const { close, read, writer } = yield* piped;
      for (let n = 0; n < 100; n++) writer.write(`${n}\n`);
      yield* close;
      assert.deepStrictEqual(
        (yield* read).trim().split("\n"),
        Array.from({ length: 100 }, (_, n) => String(n)),
      );
      assert.strictEqual(writer.dropped(), 0);
    }),
  );

  it.scopedLive("drops and counts what a reader that is stuck leaves no room for, and lets nobody wait", () =>
    Effect.gen(function* () {
      const { read, writer } = yield* piped;
      const line = (n: number) => `${String(n).padStart(999, ".")}\n`;
      const count = 5_000;
      // Five megabytes into a pipe of 64 KiB: were it to wait, this would never end.
      for (let n = 0; n < count; n++) writer.write(line(n));
      assert.isAbove(writer.dropped(), 3_000);
      let text = "";
      const kept = count - writer.dropped();
      while (text.length < kept * 1_000) {
        text += yield* read;
      }
      assert.strictEqual(text, Array.from({ length: kept }, (_, n) => line(n)).join(""));
      writer.write("again\n");
      assert.strictEqual(yield* read, "again\n");
    }),
  );

  it.scopedLive(
    "writes for people too, with the annotations under their message, and no colours unasked",
    () =>
      Effect.gen(function* () {
        const { read, writer } = yield* piped;
        yield* Effect.logWarning("it is down").pipe(
          Effect.annotateLogs({ why: "it refused", times: 3 }),
          Effect.provide(LogWriter.pretty(false)),
          Effect.provideService(LogWriter.LogWriter, writer),
        );
        let text = "";
        while (!text.includes("times")) text += yield* read;
        assert.match(text, /^\[[0-9:.]+\] WARN \(#\d+\): it is down\n( {2}(why: it refused|times: 3)\n){2}$/);
      }),
  );
});
