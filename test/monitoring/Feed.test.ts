import { assert, describe, it } from "@effect/vitest";
import { Chunk, Effect, Fiber, Layer, Logger, Stream, TestClock } from "effect";
import * as Registry from "../../src/backend/BackendRegistry.js";
import { roundRobin } from "../../src/balancing/RoundRobin.js";
import { Metrics } from "../../src/metrics/Metrics.js";
import * as Feed from "../../src/monitoring/Feed.js";
import * as Sessions from "../../src/proxy/Sessions.js";

const feed = Feed.layer(undefined).pipe(
  Layer.provide(Sessions.layer),
  Layer.provideMerge(Registry.layer({ algorithm: roundRobin, rise: 1, fall: 1 })),
  Layer.provide(Logger.remove(Logger.defaultLogger)),
);

const backend = { id: "a", address: { host: "10.0.0.1", port: 1 } };

const isStatus = (text: string): boolean => text.startsWith("event: status\n");
const isEvent = (text: string): boolean => text.startsWith("event: event\n");

/** Half a second with many connections, in which the backend goes down and comes up again. */
const busyHalfSecond = Effect.gen(function* () {
  const registry = yield* Registry.BackendRegistry;
  const metrics = yield* Metrics;
  const [known] = (yield* registry.discovered([backend])).added;
  const assigned = known ?? (yield* registry.assign({ host: "10.9.9.9" }, []));
  if (assigned === undefined) return assert.fail("nothing was assigned");
  for (let n = 0; n < 50; n++) metrics.opened();
  yield* registry.observed(assigned, { succeeded: false, why: "it refused" });
  yield* registry.observed(assigned, { succeeded: true });
  yield* TestClock.adjust("500 millis");
});

describe("the feed of a viewer", () => {
  it.scoped("has the status twice a second, however much happens", () =>
    Effect.gen(function* () {
      const { messages } = yield* Feed.Feed;
      const told: Array<string> = [];
      yield* Effect.forkScoped(Stream.runForEach(messages, (text) => Effect.sync(() => told.push(text))));
      yield* TestClock.adjust(0);
      const before = told.filter(isStatus).length;
      for (let n = 0; n < 20; n++) yield* busyHalfSecond;
      assert.strictEqual(before, 1);
      assert.strictEqual(told.filter(isStatus).length - before, 20);
      assert.isAtLeast(told.filter(isEvent).length, 40);
    }).pipe(Effect.provide(feed)),
  );

  it.scoped("that reads slowly goes on with what is so now, and not with what was", () =>
    Effect.gen(function* () {
      const { messages } = yield* Feed.Feed;
      const pull = yield* Stream.toPull(Stream.rechunk(messages, 1));
      const read = Effect.map(pull, Chunk.unsafeHead);
      assert.match(yield* read, /^event: history\n/);
      assert.isTrue(isStatus(yield* Effect.flatMap(Effect.fork(read), Fiber.join)));
      for (let n = 0; n < 120; n++) yield* busyHalfSecond;
      const now = new Date(60_000).toISOString();
      const next: Array<string> = [];
      // The events of the last minutes, and a few messages that were under way already.
      while (!next.some((text) => isStatus(text) && text.includes(`"now":"${now}"`))) next.push(yield* read);
      assert.isAtMost(next.filter(isStatus).length, 5);
      assert.isAtMost(next.filter(isEvent).length, 120);
    }).pipe(Effect.provide(feed)),
  );
});
