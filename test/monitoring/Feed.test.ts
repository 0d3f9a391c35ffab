import { assert, describe, it } from "@effect/vitest";
import { Chunk, Effect, Fiber, Layer, Logger, Schema, Stream, TestClock } from "effect";
import * as Registry from "../../src/backend/BackendRegistry.js";
import { roundRobin } from "../../src/balancing/RoundRobin.js";
import { Metrics, values } from "../../src/metrics/Metrics.js";
import { Change, Status } from "../../src/monitoring/Api.js";
import * as Feed from "../../src/monitoring/Feed.js";
import { applied } from "../../src/monitoring/StatusDelta.js";
import * as Sessions from "../../src/proxy/Sessions.js";
import * as LoopTurns from "../support/LoopTurns.js";
import { failed, succeeded } from "../support/Observations.js";
import * as SingleSteps from "../support/SingleSteps.js";

const feed = Feed.layer({}).pipe(
  Layer.provide(Sessions.layer),
  Layer.provideMerge(Registry.layer({ algorithm: roundRobin, rise: 1, fall: 1 })),
  Layer.provide(Logger.remove(Logger.defaultLogger)),
);

/** No connection was refused, for any reason. */
const noneRefused = Object.fromEntries(values.refused.map((reason) => [reason, 0]));

const backend = (n: number) => ({ id: `b${n}`, address: { host: "10.0.0.1", port: 1 + n } });

interface Message {
  readonly name: string;
  readonly data: unknown;
}

const parsed = (text: string): Message => {
  const found = /^event: (\w+)\ndata: (.*)$/.exec(text);
  return { name: found?.[1] ?? assert.fail(text), data: JSON.parse(found?.[2] ?? "") };
};

/** A viewer that takes one message after the other, when it is asked to. */
const viewer = Effect.gen(function* () {
  const { messages } = yield* Feed.Feed;
  const pull = yield* Stream.toPull(messages);
  let text = "";
  const next: Effect.Effect<Message> = Effect.suspend(() => {
    const end = text.indexOf("\n\n");
    if (end === -1) {
      return Effect.flatMap(Effect.orDie(pull), (chunk) => {
        text += Buffer.concat(Chunk.toReadonlyArray(chunk)).toString();
        return next;
      });
    }
    const message = parsed(text.slice(0, end));
    text = text.slice(end + 2);
    return Effect.succeed(message);
  });
  /** Takes messages up to the first with this name. */
  const until = (name: string): Effect.Effect<Message> =>
    Effect.flatMap(next, (message) => (message.name === name ? Effect.succeed(message) : until(name)));
  return { next, until };
});

/** A viewer that takes all that comes, and what came. */
const watching = Effect.gen(function* () {
  const { next } = yield* viewer;
  const seen: Array<Message> = [];
  yield* Effect.forkScoped(Effect.forever(Effect.map(next, (message) => seen.push(message))));
  yield* TestClock.adjust(0);
  return seen;
});

const named = (seen: ReadonlyArray<Message>, name: string) => seen.filter((each) => each.name === name);

/** Half a second with many connections, in which a backend goes down and comes up again. */
const busyHalfSecond = Effect.gen(function* () {
  const registry = yield* Registry.BackendRegistry;
  const metrics = yield* Metrics;
  const [known] = (yield* registry.discovered([backend(0)])).added;
  const assigned = known ?? (yield* registry.assign({ host: "10.9.9.9" }, []))?.backend;
  if (assigned === undefined) return assert.fail("nothing was assigned");
  for (let n = 0; n < 50; n++) metrics.opened();
  yield* registry.observed(assigned, failed("it refused"));
  yield* registry.observed(assigned, succeeded);
  yield* TestClock.adjust("500 millis");
});

const encodedChange = Schema.decodeUnknownSync(Change);

describe("the feed of a viewer", () => {
  it.scoped("has the whole status once, and then what changed, twice a second, however much happens", () =>
    Effect.gen(function* () {
      const seen = yield* watching;
      assert.deepStrictEqual(
        seen.map(({ name }) => name),
        ["history", "status"],
      );
      for (let n = 0; n < 20; n++) yield* busyHalfSecond;
      assert.lengthOf(named(seen, "status"), 1);
      assert.lengthOf(named(seen, "change"), 20);
      assert.isAtLeast(named(seen, "event").length, 40);
    }).pipe(Effect.provide(feed)),
  );

  it.scoped("makes the status of now of the first one and the changes, and says no more than that", () =>
    Effect.gen(function* () {
      const registry = yield* Registry.BackendRegistry;
      yield* registry.discovered([backend(0), backend(1), backend(2)]);
      const seen = yield* watching;
      yield* registry.discovered([backend(1), backend(2), backend(3)]);
      yield* TestClock.adjust("500 millis");
      yield* busyHalfSecond;
      yield* TestClock.adjust("500 millis");
      const { status } = yield* Feed.Feed;
      const text = Buffer.concat((yield* status).pieces).toString();
      const now = Schema.decodeUnknownSync(Status)(JSON.parse(text));
      const last = named(seen, "change").reduce(
        (state, { data }) => applied(state, encodedChange(data)),
        Schema.decodeUnknownSync(Status)(named(seen, "status")[0]?.data),
      );
      const { backends: shown, uptime_seconds: _, ...totals } = last;
      const { backends, uptime_seconds: __, ...rest } = now;
      assert.deepStrictEqual(totals, rest);
      assert.sameDeepMembers([...shown], [...backends]);
      // Nothing but the clock has moved since.
      assert.sameMembers(Object.keys(named(seen, "change").at(-1)?.data as object), [
        "now",
        "uptime_seconds",
      ]);
    }).pipe(Effect.provide(feed)),
  );

  it.scoped("that reads slowly goes on with what is so now, and not with what was", () =>
    Effect.gen(function* () {
      const { next, until } = yield* viewer;
      assert.strictEqual((yield* next).name, "history");
      yield* until("status");
      for (let n = 0; n < 120; n++) yield* busyHalfSecond;
      const seen: Array<Message> = [];
      const now = new Date(60_000).toISOString();
      const isNow = ({ data, name }: Message) =>
        name === "status" && Schema.decodeUnknownSync(Status)(data).now === now;
      while (!seen.some(isNow)) seen.push(yield* next);
      // What was under way already, and the events that are kept.
      assert.isAtMost(named(seen, "change").length, 2);
      assert.lengthOf(named(seen, "status"), 1);
      assert.isAtMost(named(seen, "event").length, 102);
    }).pipe(Effect.provide(feed)),
  );

  it.scoped("has refusals by reason, when they begin and end, also for those who come later", () =>
    Effect.gen(function* () {
      const metrics = yield* Metrics;
      // Between two looks.
      yield* TestClock.adjust("250 millis");
      for (let n = 0; n < 5; n++) {
        metrics.opened();
        metrics.refused("no-backend");
        yield* TestClock.adjust("1 second");
      }
      yield* TestClock.adjust("11 seconds");
      const { until } = yield* viewer;
      const history = (yield* until("history")).data;
      assert.deepInclude((history as ReadonlyArray<unknown>).at(-1), {
        total: 5,
        refusals: { ...noneRefused, "no-backend": 5 },
      });
      assert.deepInclude((yield* until("event")).data, { kind: "refusals-began", reason: "no-backend" });
      assert.deepInclude((yield* until("event")).data, {
        kind: "refusals-ended",
        reason: "no-backend",
        count: 5,
        seconds: 4,
      });
      const { last_refused, refused } = Schema.decodeUnknownSync(Status)((yield* until("status")).data);
      assert.strictEqual(refused, 5);
      assert.isNotNull(last_refused);
    }).pipe(Effect.provide(feed)),
  );

  it.scoped("is told of a thousand backends in slices", () =>
    Effect.gen(function* () {
      const registry = yield* Registry.BackendRegistry;
      yield* registry.discovered(Array.from({ length: 1_000 }, (_, n) => backend(n)));
      const turns = yield* LoopTurns.counted;
      const { until } = yield* viewer;
      const status = yield* Effect.flatMap(Effect.fork(until("status")), Fiber.join);
      assert.lengthOf(Schema.decodeUnknownSync(Status)(status.data).backends, 1_000);
      // Compared, and then written.
      assert.isAtLeast(turns(), 2 * (1_000 / 8) - 2);
    }).pipe(Effect.provide(feed), SingleSteps.inEachTurn),
  );
});
