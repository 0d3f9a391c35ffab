import { closeSync, openSync, readSync, writeSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { assert, describe, it } from "@effect/vitest";
import { Effect } from "effect";
import koffi from "koffi";
import { Libc } from "../../../src/transport/linux/ContextTags.js";
import { layerSystem } from "../../../src/transport/linux/LinuxTransport.js";
import { make } from "../../../src/transport/linux/NodeHostLoop.js";

const turn = Effect.promise(() => new Promise<void>((resume) => void setImmediate(resume)));

/** The two ends of a pipe, which end with the scope. */
const pipe = Effect.acquireRelease(
  Effect.map(Libc, (libc) => {
    const ends = libc.allocate(8);
    assert.strictEqual(libc.pipe(ends), 0);
    const [from = -1, to = -1] = new Int32Array(ends.bytes.buffer, ends.bytes.byteOffset, 2);
    return { from, to };
  }),
  ({ from, to }) =>
    Effect.sync(() => {
      closeSync(from);
      closeSync(to);
    }),
).pipe(Effect.provide(layerSystem));

describe("Node's loop", () => {
  it.scopedLive("calls back while the descriptor is readable, and never after it was told to stop", () =>
    Effect.gen(function* () {
      const { from, to } = yield* pipe;
      const loop = make(koffi);
      let calls = 0;
      const called = (times: number) =>
        Effect.promise(async () => {
          while (calls < times) await new Promise((resume) => setImmediate(resume));
        });
      const watch = loop.watch(from, () => {
        calls += 1;
      });
      yield* turn;
      yield* turn;
      assert.strictEqual(calls, 0);
      writeSync(to, "x");
      yield* called(3);
      assert.strictEqual(readSync(from, Buffer.alloc(1)), 1);
      yield* turn;
      const before = calls;
      writeSync(to, "y");
      yield* called(before + 1);
      watch.close();
      const after = calls;
      for (let i = 0; i < 5; i++) yield* turn;
      assert.strictEqual(calls, after);
    }),
  );

  it.scopedLive("lets go of what it was told to stop watching, as often as one likes", () =>
    Effect.gen(function* () {
      const { from, to } = yield* pipe;
      const loop = make(koffi);
      writeSync(to, "x");
      // koffi has room for some thousand functions that are called back.
      for (let i = 0; i < 10_000; i++) {
        let told = false;
        const watch = loop.watch(from, () => {
          told = true;
        });
        while (!told) yield* turn;
        watch.close();
        yield* turn;
      }
    }),
  );

  it("refuses what cannot be watched, and says why", () => {
    const file = openSync(fileURLToPath(import.meta.url), "r");
    try {
      assert.throws(() => make(koffi).watch(file, () => {}), /uv_poll_init failed \(EPERM\)/);
    } finally {
      closeSync(file);
    }
  });
});
