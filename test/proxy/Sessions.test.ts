import { assert, describe, it } from "@effect/vitest";
import { Chunk, Effect, Exit, Fiber, FiberStatus, Scope, Stream } from "effect";
import * as TimeSlices from "../../src/clock/TimeSlices.js";
import type { ConnectionRecord } from "../../src/proxy/ConnectionRecord.js";
import * as Sessions from "../../src/proxy/Sessions.js";
import * as OpenSessions from "../support/OpenSessions.js";
import * as SingleSteps from "../support/SingleSteps.js";

const record = (millis: number): ConnectionRecord => ({
  id: 1,
  client: { host: "10.0.0.1", port: 5 },
  backend: undefined,
  backendConnections: 0,
  acceptedAt: 0,
  queueMillis: undefined,
  connectMillis: undefined,
  millis,
  received: 0,
  sent: 0,
  retries: 0,
  by: "no-backend",
  phase: "choosing",
});

/** Reads so many records of a stream, in a fiber that waits for the first by now. */
const reading = (ended: Stream.Stream<ConnectionRecord>, count: number) =>
  Effect.gen(function* () {
    const fiber = yield* ended.pipe(
      Stream.map(({ millis }) => millis),
      Stream.take(count),
      Stream.runCollect,
      Effect.map(Chunk.toReadonlyArray),
      Effect.fork,
    );
    yield* Effect.repeat(Effect.yieldNow(), {
      until: () => Effect.map(Fiber.status(fiber), FiberStatus.isSuspended),
    });
    return fiber;
  });

describe("Sessions", () => {
  it.scoped("answer what became of sessions, of all listeners together and of each alone", () =>
    Effect.gen(function* () {
      const sessions = yield* Sessions.make;
      const a = yield* sessions.register(OpenSessions.group("listening"));
      const b = yield* sessions.register(OpenSessions.group("listening"));
      const all = yield* reading(sessions.ended, 4);
      const ofA = yield* reading(a.ended, 2);
      for (const [listener, millis] of [
        [a, 1],
        [b, 2],
        [a, 3],
        [b, 4],
      ] as const) {
        listener.unsafePublish(record(millis));
      }
      assert.deepStrictEqual(yield* Fiber.join(all), [1, 2, 3, 4]);
      assert.deepStrictEqual(yield* Fiber.join(ofA), [1, 3]);
    }),
  );

  it.scoped("keep no more than 1,024 records for a reader that is behind: it misses the oldest", () =>
    Effect.gen(function* () {
      const sessions = yield* Sessions.make;
      const { unsafePublish } = yield* sessions.register(OpenSessions.group("listening"));
      const reader = yield* reading(sessions.ended, 1_024);
      // All in one turn, in which the reader does not run.
      yield* Effect.sync(() => {
        for (let millis = 1; millis <= 2_000; millis++) unsafePublish(record(millis));
      });
      const read = yield* Fiber.join(reader);
      assert.strictEqual(read.at(-1), 2_000);
      assert.isAtLeast(read[0] ?? 0, 2_000 - 1_024);
    }),
  );

  it.scoped(
    "are listed in slices, the oldest of all listeners first, without those that come meanwhile",
    () =>
      Effect.gen(function* () {
        const sessions = yield* Sessions.make;
        const ids = [new Set<number>(), new Set<number>()] as const;
        const listener = (of: ReadonlySet<number>) =>
          sessions.register({
            ...OpenSessions.group("listening"),
            list: function* () {
              for (const id of of) {
                yield {
                  id,
                  client: { host: "10.0.0.1", port: 5 },
                  backend: undefined,
                  ageMillis: 0,
                  received: 0,
                  sent: 0,
                  phase: "choosing",
                };
              }
            },
          });
        const listeners = [yield* listener(ids[0]), yield* listener(ids[1])] as const;
        const open = (count: number): void => {
          for (let n = 0; n < count; n++) ids[n % 2 === 0 ? 0 : 1].add(listeners[0].unsafeNextId());
        };
        open(10_000);
        let turns = 0;
        const meanwhile = yield* Effect.fork(
          Effect.forever(
            Effect.zipRight(
              TimeSlices.turn,
              Effect.sync(() => {
                turns += 1;
                open(10);
              }),
            ),
          ),
        );
        const listed = (yield* sessions.list).map(({ id }) => id);
        const ofOne = (yield* listeners[1].list).map(({ id }) => id);
        yield* Fiber.interrupt(meanwhile);
        assert.deepStrictEqual(
          listed.slice(0, 10_000),
          Array.from({ length: 10_000 }, (_, n) => n + 1),
        );
        // Those that the first turn may have brought before it was asked.
        assert.isBelow(listed.length, 10_000 + 10 * 2);
        assert.isTrue(ofOne.every((id) => id % 2 === 0));
        // Others had a turn after each step; the other work takes every other one.
        assert.isAtLeast(turns, 10_000 / 200 / 2);
      }).pipe(SingleSteps.inEachTurn),
  );

  it.scoped("drain once every listener does, and not when one of two does", () =>
    Effect.gen(function* () {
      const sessions = yield* Sessions.make;
      assert.isUndefined(yield* sessions.phase);
      const phases = { a: "waiting", b: "waiting" } as {
        a: Sessions.ListenerPhase;
        b: Sessions.ListenerPhase;
      };
      const group = (name: "a" | "b"): Sessions.Group => ({
        ...OpenSessions.group("waiting"),
        get phase() {
          return phases[name];
        },
      });
      const scopeOfB = yield* Scope.make();
      const a = yield* sessions.register(group("a"));
      const b = yield* Scope.extend(sessions.register(group("b")), scopeOfB);
      const seen = yield* Effect.fork(Stream.runCollect(Stream.take(sessions.phases, 4)));
      yield* Effect.repeat(Effect.yieldNow(), {
        until: () => Effect.map(Fiber.status(seen), FiberStatus.isSuspended),
      });
      const enter = (name: "a" | "b", phase: Sessions.ListenerPhase) =>
        Effect.gen(function* () {
          phases[name] = phase;
          yield* { a, b }[name].phaseChanged;
          return yield* sessions.phase;
        });
      assert.strictEqual(yield* enter("a", "listening"), "listening");
      assert.strictEqual(yield* enter("b", "listening"), "listening");
      assert.strictEqual(yield* enter("b", "draining"), "listening");
      yield* Scope.close(scopeOfB, Exit.void);
      assert.strictEqual(yield* sessions.phase, "listening");
      assert.strictEqual(yield* enter("a", "draining"), "draining");
      const { phase } = yield* sessions.snapshot;
      assert.strictEqual(phase, "draining");
      phases.a = "listening";
      yield* a.phaseChanged;
      assert.deepStrictEqual(Chunk.toReadonlyArray(yield* Fiber.join(seen)), [
        "waiting",
        "listening",
        "draining",
        "listening",
      ]);
    }),
  );
});
