import { gunzipSync } from "node:zlib";
import { assert, describe, it } from "@effect/vitest";
import { Deferred, Effect, Exit, Fiber, Stream } from "effect";
import * as Rendering from "../../src/monitoring/Rendering.js";
import * as LoopTurns from "../support/LoopTurns.js";

/** A rendering that waits until it may end; each one answers how many began before it. */
const gated = Effect.gen(function* () {
  const gates: Array<Deferred.Deferred<void>> = [];
  const ask = yield* Rendering.shared(
    Effect.gen(function* () {
      const number = gates.length;
      const gate = yield* Deferred.make<void>();
      gates.push(gate);
      yield* Deferred.await(gate);
      return number;
    }),
  );
  const open = (n: number) =>
    Effect.suspend(() =>
      Deferred.succeed(gates[n] ?? assert.fail(`rendering ${n} has not begun`), undefined),
    );
  const began = Effect.sync(() => gates.length);
  return { ask, open, began };
});

const settled = Effect.yieldNow().pipe(Effect.repeatN(20));

describe("a shared rendering", () => {
  it.scoped("is made once for all who ask before it begins, and once for all who ask while it runs", () =>
    Effect.gen(function* () {
      const { ask, began, open } = yield* gated;
      const first = yield* Effect.forkAll([ask, ask, ask]);
      yield* settled;
      const second = yield* Effect.forkAll([ask, ask]);
      yield* settled;
      assert.strictEqual(yield* began, 1);
      yield* open(0);
      assert.deepStrictEqual(yield* Fiber.join(first), [0, 0, 0]);
      yield* settled;
      yield* open(1);
      assert.deepStrictEqual(yield* Fiber.join(second), [1, 1]);
      assert.strictEqual(yield* began, 2);
    }),
  );

  it.scoped("goes on for the others when somebody who asked goes away", () =>
    Effect.gen(function* () {
      const { ask, began, open } = yield* gated;
      const [gone, stays] = [yield* Effect.fork(ask), yield* Effect.fork(ask)];
      yield* settled;
      assert.strictEqual(yield* began, 1);
      yield* Fiber.interrupt(gone);
      yield* open(0);
      assert.strictEqual(yield* Fiber.join(stays), 0);
    }),
  );

  it.scoped("that fails by a bug fails for those who asked for it alone", () =>
    Effect.gen(function* () {
      let runs = 0;
      const ask = yield* Rendering.shared(
        Effect.suspend(() => (runs++ === 0 ? Effect.die("out of order") : Effect.succeed("well"))),
      );
      assert.isTrue(Exit.isFailure(yield* Effect.exit(ask)));
      assert.strictEqual(yield* ask, "well");
    }),
  );
});

describe("a compressed rendering", () => {
  const text = "lb_backend_up 1\n".repeat(1_000);

  it.live("holds the same", () =>
    Effect.gen(function* () {
      const pieces = [text.slice(0, 5_000), text.slice(5_000)].map((part) => Buffer.from(part));
      const { bytes, compressed } = yield* Rendering.make(pieces);
      assert.strictEqual(bytes, text.length);
      const sent = yield* compressed;
      assert.isBelow(sent.bytes, text.length / 10);
      assert.strictEqual(gunzipSync(Buffer.concat(sent.pieces)).toString(), text);
    }),
  );

  it.effect("is for those who accept it, and not for what is short", () =>
    Effect.gen(function* () {
      const long = yield* Rendering.make([Buffer.from(text)]);
      for (const [accepted, is] of [
        ["gzip", true],
        ["br, GZIP;q=0.5, *;q=0", true],
        ["deflate, gzip;q=1.0", true],
        [undefined, false],
        ["", false],
        ["br", false],
        ["gzip;q=0", false],
        ["gzip;q=0.000, br", false],
        ["notgzip", false],
      ] as const) {
        assert.strictEqual(Rendering.isCompressed(long, accepted), is, accepted);
      }
      assert.isFalse(Rendering.isCompressed(yield* Rendering.make([Buffer.from("short")]), "gzip"));
    }),
  );
});

describe("the pieces of a rendering", () => {
  it.scopedLive("are sent one by one, with a turn of the event loop before each", () =>
    Effect.gen(function* () {
      const turns = yield* LoopTurns.counted;
      const { pieces } = yield* Rendering.make(Array.from({ length: 50 }, (_, n) => Buffer.from(String(n))));
      const seen: Array<readonly [turn: number, piece: string]> = [];
      yield* Stream.runForEach(Rendering.stream({ pieces, bytes: 90 }), (piece) =>
        Effect.sync(() => seen.push([turns(), Buffer.from(piece).toString()])),
      );
      assert.deepStrictEqual(
        seen.map(([, piece]) => piece),
        Array.from({ length: 50 }, (_, n) => String(n)),
      );
      assert.lengthOf(new Set(seen.map(([turn]) => turn)), 50);
    }),
  );
});
