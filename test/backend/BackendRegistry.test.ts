import { describe, it } from "@effect/vitest";
import { Chunk, Deferred, Effect, Fiber, Layer, Logger, LogLevel, Option, Stream, TestClock } from "effect";
import { assert } from "vitest";
import { type Admin, type Backend, type Instance, since } from "../../src/backend/Backend.js";
import { BackendRegistry, layer } from "../../src/backend/BackendRegistry.js";
import type { Observation } from "../../src/backend/Health.js";
import * as Pool from "../../src/backend/Pool.js";
import type { PoolEvent } from "../../src/backend/PoolEvent.js";
import type { Algorithm } from "../../src/balancing/Algorithm.js";
import { ipHash } from "../../src/balancing/IpHash.js";
import { leastConnections } from "../../src/balancing/LeastConnections.js";
import * as RoundRobin from "../../src/balancing/RoundRobin.js";
import { Metrics } from "../../src/metrics/Metrics.js";
import * as CapturedLog from "../support/CapturedLog.js";
import { failed, succeeded } from "../support/Observations.js";
import * as SingleSteps from "../support/SingleSteps.js";

const instance = (id: string, port = 3000): Instance => ({ id, address: { host: "10.0.0.1", port } });
const client = { host: "10.9.8.7" };
const refused = "10.0.0.1:3000 refused the connection";
const up = succeeded;
const down = failed(refused);

const registry = (algorithm: Algorithm) => layer({ algorithm, rise: 2, fall: 3 });

const backendOf = (id: string) =>
  Effect.flatMap(BackendRegistry, ({ pool }) =>
    Effect.map(pool, (now) => Pool.backends(now).find((backend) => backend.id === id) ?? assert.fail(id)),
  );

const observe = (id: string, ...observations: ReadonlyArray<Observation>) =>
  Effect.gen(function* () {
    const { observed } = yield* BackendRegistry;
    for (const observation of observations) yield* observed(yield* backendOf(id), observation);
  });

const discover = (...ids: ReadonlyArray<string>) =>
  Effect.flatMap(BackendRegistry, ({ discovered }) => discovered(ids.map((id) => instance(id))));

const assign = (tried: ReadonlyArray<Backend> = [], host = client.host) =>
  Effect.flatMap(BackendRegistry, (registry) =>
    Effect.map(
      registry.assign({ host }, tried),
      (assignment) => assignment?.backend ?? assert.fail("nothing was assigned"),
    ),
  );

/** What an algorithm remembers that counts how many backends it was prepared for. */
interface Counting {
  readonly preparedFor: number | undefined;
  readonly last: RoundRobin.State;
}

/** A rotation whose preparation takes so many slices. */
const preparing = (slices: number, started: (eligible: number) => void): Algorithm<Counting> => ({
  name: "preparing",
  initial: { preparedFor: undefined, last: RoundRobin.roundRobin.initial },
  choose: (members, load, { last, preparedFor }, who) => {
    const choice = RoundRobin.roundRobin.choose(members, load, last, who);
    return choice === undefined
      ? undefined
      : { slot: choice.slot, state: { preparedFor, last: choice.state } };
  },
  prepare: function* ({ eligible }) {
    started(eligible);
    for (let i = 0; i < slices; i++) yield;
    return { into: ({ last }) => ({ preparedFor: eligible, last }) };
  },
});

const preparedFor =
  (eligible: number | undefined) =>
  ({ state }: Pool.Pool): boolean =>
    (state as Counting).preparedFor === eligible; // Of the algorithm above, which the test has chosen.

// Lets the fiber that prepares go on, slice by slice and over its pauses, until the pool is as it should be.
const until = (reached: (pool: Pool.Pool) => boolean) =>
  Effect.gen(function* () {
    const { pool } = yield* BackendRegistry;
    for (let turns = 0; !reached(yield* pool); turns++) {
      if (turns > 100_000) assert.fail("this did not happen");
      yield* Effect.promise(() => new Promise((resolve) => setImmediate(resolve)));
      // Longer than any preparation here takes: it waits for its next one.
      if (turns % 1_000 === 999) yield* TestClock.adjust("50 millis");
    }
  });

describe("BackendRegistry", () => {
  it.effect("keeps the counts of connections that come and go at once", () =>
    Effect.gen(function* () {
      const { pool, release } = yield* BackendRegistry;
      yield* discover("a", "b", "c");
      for (const id of ["a", "b", "c"]) yield* observe(id, up);
      const counts = Effect.map(pool, (now) =>
        Pool.backends(now).map((backend) => Pool.connections(now, backend)),
      );
      const gate = yield* Deferred.make<void>();
      const open = yield* Effect.forkAll(
        Array.from({ length: 300 }, () =>
          Effect.acquireUseRelease(
            Effect.zipRight(Effect.yieldNow(), assign()),
            (backend) => Effect.as(Deferred.await(gate), backend.id),
            release,
          ),
        ),
      );
      yield* until((now) => now.connections === 300);
      assert.deepStrictEqual(yield* counts, [100, 100, 100]);
      yield* Deferred.succeed(gate, undefined);
      yield* Fiber.join(open);
      assert.strictEqual((yield* pool).connections, 0);
      assert.deepStrictEqual(yield* counts, [0, 0, 0]);
    }).pipe(Effect.provide(registry(leastConnections))),
  );

  it.effect("says in the log what came, went, rose and fell: once each, and why", () =>
    Effect.gen(function* () {
      const log = yield* CapturedLog.make;
      yield* Effect.gen(function* () {
        const lines = () =>
          log.take(LogLevel.Info).map(({ level, message, annotations }) => [level, message, annotations]);
        yield* discover("c");
        assert.deepStrictEqual(lines(), [["INFO", "backends listed", { added: 1, removed: 0, backends: 1 }]]);
        yield* observe("c", up);
        assert.deepStrictEqual(lines(), [["INFO", "backends checked", { healthy: "1 of 1 backend" }]]);
        yield* discover("a", "b");
        assert.deepStrictEqual(lines(), [
          ["INFO", "backend added", { backend: "a (10.0.0.1:3000)" }],
          ["INFO", "backend added", { backend: "b (10.0.0.1:3000)" }],
          ["INFO", "backend removed", { backend: "c (10.0.0.1:3000)", connections: 0 }],
        ]);
        yield* discover("b", "a");
        assert.deepStrictEqual(lines(), []);

        yield* observe("a", up, up, up);
        assert.deepStrictEqual(lines(), [["INFO", "backend is up", { backend: "a (10.0.0.1:3000)" }]]);

        yield* observe("a", down, down);
        assert.deepStrictEqual(lines(), []);
        yield* observe("a", down, down, down);
        assert.deepStrictEqual(lines(), [
          [
            "WARN",
            "backend is down",
            { backend: "a (10.0.0.1:3000)", why: "10.0.0.1:3000 refused the connection" },
          ],
        ]);
        yield* observe("a", up);
        assert.deepStrictEqual(lines(), []);
        yield* observe("a", up, up);
        assert.deepStrictEqual(lines(), [["INFO", "backend is up", { backend: "a (10.0.0.1:3000)" }]]);

        // One that never was up says so once as well: otherwise nobody would learn why it gets no traffic.
        yield* observe("b", down, down, down, down);
        assert.deepStrictEqual(
          lines().map(([level, message]) => [level, message]),
          [["WARN", "backend is down"]],
        );

        yield* assign();
        yield* discover("b");
        assert.deepStrictEqual(lines(), [
          ["INFO", "backend removed", { backend: "a (10.0.0.1:3000)", connections: 1 }],
        ]);
      }).pipe(Effect.provide(Layer.merge(registry(RoundRobin.roundRobin), log.layer)));
    }),
  );

  it.effect("sums up a long list in one line, and its first checks in another", () =>
    Effect.gen(function* () {
      const log = yield* CapturedLog.make;
      yield* Effect.gen(function* () {
        const { discovered, observed } = yield* BackendRegistry;
        yield* discover("a");
        yield* observe("a", up);
        log.take();
        const many = Array.from({ length: 100 }, (_, n) => instance(`n${n}`));
        const { added } = yield* discovered([instance("a"), ...many]);
        for (const [n, backend] of added.entries()) yield* observed(backend, n < 40 ? down : up);
        const lines = log.take(LogLevel.Info);
        assert.lengthOf(lines, 12);
        assert.deepStrictEqual(lines[0]?.annotations, { added: 100, removed: 0, backends: 101 });
        assert.lengthOf(
          lines.filter(({ message }) => message === "backend is down"),
          10,
        );
        assert.deepStrictEqual(lines[11]?.annotations, { healthy: "61 of 101 backends" });
        // From now on each change counts for itself.
        yield* observe("n99", down, down, down);
        assert.lengthOf(log.take(LogLevel.Info), 1);
      }).pipe(Effect.provide(Layer.merge(registry(RoundRobin.roundRobin), log.layer)));
    }),
  );

  it.effect("leaves out what cannot be a backend, and warns of it once", () =>
    Effect.gen(function* () {
      const log = yield* CapturedLog.make;
      yield* Effect.gen(function* () {
        const { discovered, pool } = yield* BackendRegistry;
        const wrong = [instance("b", 91036), { id: "c", address: { host: "localhost", port: 80 } }];
        for (let n = 0; n < 3; n++) yield* discovered([instance("a"), ...wrong]);
        assert.deepStrictEqual(
          Pool.backends(yield* pool).map(({ id }) => id),
          ["a"],
        );
        assert.deepStrictEqual(
          log
            .take(LogLevel.Warning)
            .map(({ message, annotations }) => [message, annotations["instance"], annotations["field"]]),
          [
            ["instance skipped", "b", "port"],
            ["instance skipped", "c", "host"],
          ],
        );
      }).pipe(Effect.provide(Layer.merge(registry(RoundRobin.roundRobin), log.layer)));
    }),
  );

  it.effect("takes a long list over in slices, and one list after the other", () =>
    Effect.gen(function* () {
      const { discovered, pool } = yield* BackendRegistry;
      const many = Array.from({ length: 1_000 }, (_, n) => instance(`n${n}`));
      const long = yield* Effect.fork(discovered(many));
      const short = yield* Effect.fork(discovered([instance("a")]));
      let turns = 0;
      while (Option.isNone(yield* Fiber.poll(short))) {
        yield* Effect.promise(() => new Promise((resolve) => setImmediate(resolve)));
        turns += 1;
        if (turns > 100_000) assert.fail("the second list was not taken over");
      }
      assert.lengthOf((yield* Fiber.join(long)).added, 1_000);
      assert.lengthOf((yield* Fiber.join(short)).removed, 1_000);
      // So many turns had the event loop meanwhile: one after each few of 1,000 that came, and of 1,000 that went.
      assert.isAtLeast(turns, 200);
      assert.strictEqual((yield* pool).listed, 1);
    }).pipe(
      Effect.provide(registry(RoundRobin.roundRobin)),
      SingleSteps.inEachTurn,
      Logger.withMinimumLogLevel(LogLevel.None),
    ),
  );

  it.effect("refuses a rise or fall that cannot be reached, by its name", () =>
    Effect.gen(function* () {
      for (const [option, wrong] of [
        ["rise", { rise: 0 }],
        ["fall", { fall: 1_001 }],
        ["fall", { fall: Number.NaN }],
      ] as const) {
        const error = yield* layer(wrong).pipe(Layer.build, Effect.scoped, Effect.flip);
        assert.strictEqual(error.option, option);
      }
    }),
  );

  it.effect("takes the time of an observation from the clock", () =>
    Effect.gen(function* () {
      yield* discover("a");
      yield* TestClock.adjust("90 seconds");
      yield* observe("a", down);
      const { pool } = yield* BackendRegistry;
      assert.strictEqual(Pool.lastCheck(yield* pool, yield* backendOf("a")), 90_000);
    }).pipe(Effect.provide(registry(RoundRobin.roundRobin))),
  );

  it.scoped("publishes what became of the pool to each reader, and nothing where nothing has changed", () =>
    Effect.gen(function* () {
      const { events } = yield* BackendRegistry;
      const expected = ["Added a", "Added b", "serving", "Up a", "Down a why", "Removed b"];
      const collect = (stream: Stream.Stream<PoolEvent>) =>
        Effect.fork(Stream.runCollect(Stream.take(stream, expected.length)));
      const readers = [yield* Effect.flatMap(events, collect), yield* Effect.flatMap(events, collect)];

      yield* discover("a", "b");
      yield* discover("b", "a");
      yield* observe("a", up, up);
      const why = failed("why");
      yield* observe("a", why, why, why, why);
      yield* discover("a");

      for (const reader of readers) {
        const read = Chunk.toReadonlyArray(yield* Fiber.join(reader));
        const words = read.map((item) =>
          item._tag === "Phase"
            ? item.phase
            : [item._tag, item.backend.id, ...(item._tag === "Down" ? [item.why] : [])].join(" "),
        );
        assert.deepStrictEqual(words, expected);
      }
    }).pipe(Effect.provide(registry(RoundRobin.roundRobin))),
  );

  it.effect("lets go those who wait for the first discovery, and at once those who come later", () =>
    Effect.gen(function* () {
      const { awaitFirstDiscovery, discoveryFailed, pool } = yield* BackendRegistry;
      const waiting = yield* Effect.fork(awaitFirstDiscovery);
      yield* Effect.yieldNow();
      assert.isTrue(Option.isNone(yield* Fiber.poll(waiting)));
      assert.strictEqual((yield* pool).phase, "starting");
      yield* discoveryFailed("the Operator is away");
      yield* Fiber.join(waiting);
      yield* awaitFirstDiscovery;
    }).pipe(Effect.provide(registry(RoundRobin.roundRobin))),
  );

  it.effect("serves from the first list on, whatever it lists and whatever comes after it", () =>
    Effect.gen(function* () {
      const { awaitFirstDiscovery, discovered, discoveryFailed, pool } = yield* BackendRegistry;
      const state = Effect.map(pool, ({ notListed, phase }) => [phase, notListed]);
      assert.deepStrictEqual(yield* state, ["starting", undefined]);
      yield* discoveryFailed("the Operator is away");
      assert.deepStrictEqual(yield* state, ["starting", "the Operator is away"]);
      yield* discovered([]);
      yield* awaitFirstDiscovery;
      assert.deepStrictEqual(yield* state, ["serving", undefined]);
      yield* discoveryFailed("the Operator is away again");
      assert.deepStrictEqual(yield* state, ["serving", undefined]);
    }).pipe(Effect.provide(registry(RoundRobin.roundRobin))),
  );

  describe("preparing", () => {
    it.effect("follows each change of the eligible backends, and nothing else", () => {
      const starts: Array<number> = [];
      return Effect.gen(function* () {
        const { pool, release } = yield* BackendRegistry;
        yield* discover("a", "b");
        yield* observe("a", up);
        yield* until(preparedFor(1));
        yield* observe("b", up);
        yield* until(preparedFor(2));
        const before = starts.length;
        // Nothing of this changes who is eligible.
        yield* observe("a", up, down, up);
        yield* release(yield* assign());
        yield* discover("b", "a", "n");
        for (let i = 0; i < 50; i++)
          yield* Effect.promise(() => new Promise((resolve) => setImmediate(resolve)));
        assert.strictEqual(starts.length, before);
        yield* observe("b", down, down, down);
        yield* until(preparedFor(1));
        yield* discover();
        yield* until(preparedFor(0));
        assert.strictEqual((yield* pool).listed, 0);
      }).pipe(Effect.provide(registry(preparing(3, (eligible) => starts.push(eligible)))));
    });

    it.effect("lets connections choose meanwhile, and starts anew for what changed while it ran", () => {
      const starts: Array<number> = [];
      return Effect.gen(function* () {
        const { pool } = yield* BackendRegistry;
        yield* discover("a", "b", "c");
        yield* observe("a", up);
        yield* until(() => starts.length === 1);
        const chosen: Array<string> = [];
        yield* observe("b", up);
        chosen.push((yield* assign()).id, (yield* assign()).id);
        yield* observe("c", up);
        chosen.push((yield* assign()).id, (yield* assign()).id);
        assert.isTrue(preparedFor(undefined)(yield* pool));
        assert.deepStrictEqual(chosen, ["a", "b", "c", "a"]);
        yield* until(preparedFor(3));
        // The two changes that came meanwhile made one further run.
        assert.deepStrictEqual(starts, [1, 3]);
        assert.strictEqual((yield* pool).connections, 4);
      }).pipe(
        Effect.provide(registry(preparing(50, (eligible) => starts.push(eligible)))),
        SingleSteps.inEachTurn,
      );
    });

    it.effect("moves no client of ip-hash twice, before and after its tables are in use", () => {
      let tables = 0;
      const counting: typeof ipHash = {
        ...ipHash,
        prepare: function* (members, state) {
          const prepared = yield* ipHash.prepare?.(members, state) ?? assert.fail("ip-hash prepares a table");
          tables += 1;
          return prepared;
        },
      };
      return Effect.gen(function* () {
        const { release } = yield* BackendRegistry;
        const hosts = Array.from({ length: 100 }, (_, i) => `10.7.${i}.1`);
        const placed = Effect.map(
          Effect.forEach(hosts, (host) => Effect.tap(assign([], host), release)),
          (backends) => backends.map(({ id }) => id),
        );
        const ids = Array.from({ length: 10 }, (_, i) => `b${i}`);
        yield* discover(...ids);
        // A table of some of them is under way when the others become healthy.
        for (const id of ids.slice(5)) yield* observe(id, up);
        yield* Effect.promise(() => new Promise((resolve) => setImmediate(resolve)));
        for (const id of ids.slice(0, 5)) yield* observe(id, up);
        assert.strictEqual(tables, 0);
        const asked = yield* placed;
        for (const count of [1, 2]) {
          yield* until(() => tables === count);
          assert.deepStrictEqual(yield* placed, asked);
        }

        yield* discover(...ids.slice(1));
        const meanwhile = yield* placed;
        assert.strictEqual(tables, 2, "the old table is still in use");
        yield* until(() => tables === 3);
        assert.deepStrictEqual(yield* placed, meanwhile);
        asked.forEach((id, i) => {
          if (id !== "b0") assert.strictEqual(meanwhile[i], id);
        });
        assert.notInclude(meanwhile, "b0");
      }).pipe(Effect.provide(registry(counting)), SingleSteps.inEachTurn);
    });

    it.effect("goes on after a preparation that threw, and says so", () =>
      Effect.gen(function* () {
        const log = yield* CapturedLog.make;
        let runs = 0;
        const broken: typeof RoundRobin.roundRobin = {
          ...RoundRobin.roundRobin,
          prepare: function* () {
            runs += 1;
            yield;
            throw new Error("out of luck");
          },
        };
        yield* Effect.gen(function* () {
          yield* discover("a", "b");
          yield* observe("a", up);
          yield* until(() => runs === 1);
          assert.strictEqual((yield* assign()).id, "a");
          yield* until(() => log.lines.some(({ level }) => level === "ERROR"));
          yield* observe("b", up);
          yield* until(() => runs === 2);
        }).pipe(Effect.provide(Layer.provideMerge(registry(broken), log.layer)));
        assert.include(log.lines.find(({ level }) => level === "ERROR")?.text, "out of luck");
      }),
    );
  });

  it.effect("keeps the counters of a backend for as long as it is known, its last connection included", () =>
    Effect.gen(function* () {
      const { release } = yield* BackendRegistry;
      const metrics = yield* Metrics;
      const known = () => [...metrics.backends.values()].map(({ labels }) => labels.backend).sort();
      yield* discover("a", "b");
      yield* observe("a", up);
      const backend = yield* assign();
      assert.deepStrictEqual(known(), ["a", "b"]);
      yield* discover();
      assert.deepStrictEqual(known(), ["a"], "b had no connection, a has one");
      yield* release(backend);
      assert.deepStrictEqual(known(), []);
    }).pipe(Effect.provide(registry(RoundRobin.roundRobin))),
  );

  it.effect("says since when a backend is up or down, and why it is down", () =>
    Effect.gen(function* () {
      const { pool } = yield* BackendRegistry;
      const seen = Effect.zipWith(backendOf("a"), pool, (backend, now) => ({
        lastCheck: Pool.lastCheck(now, backend),
        since: backend.health.since,
        why: backend.health.why?.message,
      }));
      yield* discover("a");
      yield* observe("a", up);
      yield* TestClock.adjust("5 seconds");
      yield* observe("a", down, down);
      assert.deepStrictEqual(yield* seen, { lastCheck: 5_000, since: 0, why: undefined });
      yield* TestClock.adjust("5 seconds");
      yield* observe("a", down);
      assert.deepStrictEqual(yield* seen, { lastCheck: 10_000, since: 10_000, why: refused });
      yield* TestClock.adjust("5 seconds");
      yield* observe("a", up, up);
      assert.deepStrictEqual(yield* seen, { lastCheck: 15_000, since: 15_000, why: undefined });
    }).pipe(Effect.provide(registry(RoundRobin.roundRobin))),
  );

  it.effect("gives a backend the weight that an operator chooses, until that is given back", () =>
    Effect.gen(function* () {
      const { discovered, weigh } = yield* BackendRegistry;
      const events = yield* Stream.toPull(yield* Effect.flatMap(BackendRegistry, ({ events }) => events));
      const listed = (weight: number) =>
        discovered([{ id: "a", address: { host: "10.0.0.1", port: 80 }, weight }]);
      const weightOf = Effect.map(backendOf("a"), ({ listedWeight, weight }) => [weight, listedWeight]);
      yield* listed(3);
      assert.deepStrictEqual(yield* weightOf, [3, 3]);
      assert.lengthOf(yield* weigh("a", 7, "10.0.0.9"), 1);
      assert.deepStrictEqual(yield* weightOf, [7, 3]);
      yield* listed(4);
      assert.deepStrictEqual(yield* weightOf, [7, 4], "whatever discovery says");
      yield* discover("b");
      yield* listed(4);
      assert.deepStrictEqual(yield* weightOf, [7, 4], "also when it comes back");
      yield* weigh("a", undefined, "10.0.0.9");
      assert.deepStrictEqual(yield* weightOf, [4, 4]);
      assert.deepStrictEqual(yield* weigh("nobody", 1, "10.0.0.9"), []);
      for (const wrong of [-1, 257, 1.5, Number.NaN]) {
        assert.strictEqual((yield* Effect.flip(weigh("a", wrong, "10.0.0.9")))._tag, "InvalidOption");
      }
      const seen: Array<string> = [];
      while (seen.length < 7) for (const { _tag } of yield* events) seen.push(_tag);
      assert.deepStrictEqual(
        seen.filter((tag) => tag === "Weighed" || tag === "Altered"),
        ["Weighed", "Altered", "Weighed"],
      );
    }).pipe(Effect.scoped, Effect.provide(registry(RoundRobin.roundRobin))),
  );

  it.effect("says since when a chosen weight holds, and who chose it", () =>
    Effect.gen(function* () {
      const { weigh } = yield* BackendRegistry;
      yield* discover("a", "b");
      const chosen = Effect.fnUntraced(function* (weight: number | undefined, by: string) {
        yield* TestClock.adjust("5 seconds");
        yield* weigh("a", weight, by);
        return (yield* backendOf("a")).chosenWeight;
      });
      assert.deepStrictEqual(yield* chosen(2, "10.0.0.8"), { weight: 2, at: 5_000, by: "10.0.0.8" });
      assert.deepStrictEqual(yield* chosen(2, "10.0.0.9"), { weight: 2, at: 5_000, by: "10.0.0.8" });
      assert.deepStrictEqual(yield* chosen(3, "10.0.0.9"), { weight: 3, at: 15_000, by: "10.0.0.9" });
      yield* discover("b");
      yield* discover("a", "b");
      assert.deepInclude((yield* backendOf("a")).chosenWeight, { at: 15_000 }, "also when it comes back");
      assert.isUndefined(yield* chosen(undefined, "10.0.0.9"));
      assert.isUndefined((yield* backendOf("b")).chosenWeight);
    }).pipe(Effect.provide(registry(RoundRobin.roundRobin))),
  );

  it.effect("says since when an operator's choice holds, and who made it", () =>
    Effect.gen(function* () {
      const { steer } = yield* BackendRegistry;
      const shown = Effect.map(backendOf("a"), (backend) => [since(backend), backend.steered?.by]);
      yield* discover("a", "b");
      yield* observe("a", up);
      const chosen = Effect.fnUntraced(function* (admin: Admin, by: string) {
        yield* TestClock.adjust("5 seconds");
        yield* steer("a", admin, by);
        return yield* shown;
      });
      assert.deepStrictEqual(yield* chosen("enabled", "10.0.0.8"), [0, undefined], "it was so already");
      assert.deepStrictEqual(yield* chosen("draining", "10.0.0.9"), [10_000, "10.0.0.9"]);
      assert.deepStrictEqual(yield* chosen("draining", "10.0.0.8"), [10_000, "10.0.0.9"], "the same again");
      yield* observe("a", down, down, down);
      yield* discover("b");
      yield* discover("a", "b");
      yield* observe("a", up);
      assert.deepStrictEqual(yield* shown, [10_000, "10.0.0.9"], "whatever probes and discovery say");
      assert.deepStrictEqual(yield* chosen("enabled", "10.0.0.8"), [20_000, "10.0.0.8"]);
      yield* TestClock.adjust("5 seconds");
      yield* observe("a", down, down, down);
      assert.deepStrictEqual(yield* shown, [25_000, "10.0.0.8"], "it went down later");
    }).pipe(Effect.provide(registry(RoundRobin.roundRobin))),
  );

  it.effect("keeps what an operator has chosen for a backend, until another choice is made", () =>
    Effect.gen(function* () {
      const log = yield* CapturedLog.make;
      yield* Effect.gen(function* () {
        const { assign, pool, steer } = yield* BackendRegistry;
        yield* discover("a", "b");
        yield* observe("a", up);
        yield* observe("b", up);
        assert.deepStrictEqual(yield* steer("c", "draining", "10.0.0.9"), []);
        log.take();
        assert.deepStrictEqual(
          (yield* steer("a", "draining", "10.0.0.9")).map(({ admin }) => admin),
          ["draining"],
        );
        const [line] = log.take();
        assert.strictEqual(line?.message, "backend is draining");
        assert.deepStrictEqual(line?.annotations, {
          backend: "a (10.0.0.1:3000)",
          before: "enabled",
          by: "10.0.0.9",
        });
        for (let n = 0; n < 4; n++) assert.strictEqual((yield* assign(client, []))?.backend.id, "b");
        assert.strictEqual(Pool.healthy(yield* pool), 1);

        yield* discover("b");
        yield* discover("a", "b");
        yield* observe("a", up);
        assert.strictEqual((yield* backendOf("a")).admin, "draining");
        for (let n = 0; n < 4; n++) assert.strictEqual((yield* assign(client, []))?.backend.id, "b");

        yield* observe("a", down, down, down);
        yield* observe("a", up, up);
        assert.strictEqual((yield* backendOf("a")).eligible, false);

        yield* steer("a", "enabled", "10.0.0.9");
        assert.strictEqual(Pool.healthy(yield* pool), 2);
      }).pipe(Effect.provide(Layer.provideMerge(registry(RoundRobin.roundRobin), log.layer)));
    }),
  );
});
