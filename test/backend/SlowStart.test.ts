import { it as itEffect } from "@effect/vitest";
import { Effect, Fiber, FastCheck as fc, Stream, TestClock } from "effect";
import { assert, describe, it } from "vitest";
import { type Backend, type Instance, keyOf } from "../../src/backend/Backend.js";
import { BackendRegistry, layer } from "../../src/backend/BackendRegistry.js";
import * as Pool from "../../src/backend/Pool.js";
import type { Algorithm } from "../../src/balancing/Algorithm.js";
import { algorithms } from "../../src/balancing/Algorithms.js";
import { roundRobin } from "../../src/balancing/RoundRobin.js";
import { failed as failedWith, succeeded } from "../support/Observations.js";

const failed = failedWith("refused");
const instance = (id: string, weight = 1): Instance => ({
  id,
  address: { host: `10.0.0.${1 + (id.charCodeAt(0) & 127)}`, port: 3000 },
  weight,
});

const empty = (algorithm: Algorithm): Pool.Pool => Pool.make(algorithm, { rise: 1, fall: 1 }, Infinity, true);

/** Lists these, and checks those that are new: all are up. */
const listed = (before: Pool.Pool, instances: ReadonlyArray<Instance>): Pool.Pool => {
  let [pool] = Pool.discovered(before, instances);
  for (const backend of Pool.backends(pool)) [pool] = Pool.observed(pool, backend, succeeded, 0);
  return pool;
};

/** The pool after so many clients, whose connections stay open, and how many of them each got. */
const served = (
  before: Pool.Pool,
  clients: number,
): readonly [Pool.Pool, Readonly<Record<string, number>>] => {
  let pool = before;
  const counted: Record<string, number> = {};
  for (let n = 0; n < clients; n++) {
    const [after, assignment] = Pool.assigned(pool, { host: `10.1.${n >> 8}.${n & 255}` }, []);
    const { id } = assignment?.backend ?? assert.fail("a client was refused");
    pool = after;
    counted[id] = (counted[id] ?? 0) + 1;
  }
  return [pool, counted];
};

const shares = (pool: Pool.Pool, clients: number): Readonly<Record<string, number>> =>
  served(pool, clients)[1];

const weightsOf = (pool: Pool.Pool): Readonly<Record<string, number>> =>
  Object.fromEntries(Pool.backends(pool).map(({ id, weight }) => [id, weight]));

describe.each(Object.values(algorithms))("a slow start, with $name", (algorithm: Algorithm) => {
  it("gives a new backend a tenth of its share, and at each step a tenth more", () => {
    let pool = listed(empty(algorithm), [instance("a"), instance("b")]);
    pool = listed(pool, [instance("a"), instance("b"), instance("c", 2)]);
    for (let tenths = 1; tenths <= 10; tenths++) {
      const weight = (2 * tenths) / 10;
      assert.deepStrictEqual(weightsOf(pool), { a: 1, b: 1, c: weight });
      const clients = 2_200;
      const { c = 0 } = shares(pool, clients);
      const expected = (clients * weight) / (2 + weight);
      if (algorithm === roundRobin) assert.approximately(c, expected, 1);
      assert.isAbove(c, expected * 0.7, `at ${tenths} tenths`);
      assert.isBelow(c, expected * 1.3, `at ${tenths} tenths`);
      [pool] = Pool.raised(pool, Pool.backends(pool));
    }
    assert.deepStrictEqual(weightsOf(pool), { a: 1, b: 1, c: 2 });
  });

  it("refuses nobody and keeps the shares even while all are in one", () => {
    const all = [..."abcd"].map((id) => instance(id));
    const pool = listed(listed(empty(algorithm), []), all);
    assert.deepStrictEqual(weightsOf(pool), { a: 0.1, b: 0.1, c: 0.1, d: 0.1 });
    const counted = shares(pool, 2_000);
    for (const { id } of all) assert.approximately(counted[id] ?? 0, 500, algorithm === roundRobin ? 0 : 75);
  });

  it("gives the only healthy backend every client", () => {
    let pool = listed(empty(algorithm), [instance("a")]);
    pool = listed(pool, [instance("a"), instance("b")]);
    const [a] = Pool.backends(pool);
    [pool] = Pool.observed(pool, a ?? assert.fail(), failed, 0);
    assert.deepStrictEqual(shares(pool, 100), { b: 100 });
  });
});

describe("a slow start at little traffic, with round-robin", () => {
  it("never gives a backend one client more or fewer than its part, however few come in a step", () => {
    const clientsOfSteps = fc.array(fc.nat(100), { minLength: 9, maxLength: 9, size: "max" });
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 100 }), clientsOfSteps, fc.nat(100), (size, steps, before) => {
        const others = Array.from({ length: size }, (_, n) => instance(`other-${n}`));
        let pool = listed(empty(roundRobin), others);
        [pool] = served(pool, before);
        pool = listed(pool, [...others, instance("new")]);
        let part = 0;
        let had = 0;
        for (const clients of steps) {
          const { new: weight = 0 } = weightsOf(pool);
          part += (clients * weight) / (size + weight);
          const [after, counted] = served(pool, clients);
          had += counted["new"] ?? 0;
          assert.approximately(had, part, 1);
          [pool] = Pool.raised(after, Pool.backends(after));
        }
      }),
      { numRuns: 60 },
    );
  });

  it("gives a backend its first client in time where fewer come in a step than there are backends", () => {
    const others = Array.from({ length: 100 }, (_, n) => instance(`other-${n}`));
    let pool = listed(listed(empty(roundRobin), others), [...others, instance("new")]);
    let had = 0;
    for (let step = 1; step <= 9; step++) {
      const [after, counted] = served(pool, 50);
      had += counted["new"] ?? 0;
      [pool] = Pool.raised(after, Pool.backends(after));
    }
    // Its part of these 450 clients is 2.2 of them.
    assert.strictEqual(had, 2);
  });
});

describe("slow starts, as a model has them", () => {
  interface Life {
    readonly first: boolean;
    up: boolean;
    checked: boolean;
    tenths: number;
    listed: number;
    chosen: number | undefined;
  }
  const list = fc.uniqueArray(
    fc
      .tuple(fc.constantFrom(..."abcde"), fc.constantFrom(0, 1, 3, 256))
      .map(([id, weight]) => instance(id, weight)),
    { selector: keyOf },
  );
  const event = fc.oneof(
    fc.record({ _tag: fc.constant("Discovered" as const), list }),
    fc.record({ _tag: fc.constant("Observed" as const), which: fc.nat(), up: fc.boolean() }),
    fc.record({ _tag: fc.constant("Raised" as const), which: fc.nat() }),
    fc.record({
      _tag: fc.constant("Weighed" as const),
      which: fc.nat(),
      weight: fc.constantFrom(undefined, 0, 7),
    }),
  );

  it("concern the backend that came up and no other, and leave no share that is above 0 at nothing", () => {
    fc.assert(
      fc.property(fc.array(event, { minLength: 10, maxLength: 60, size: "max" }), (events) => {
        let pool = empty(roundRobin);
        const lives = new Map<number, Life>();
        const weights = new Map<string, number | undefined>();
        const nth = (which: number): Backend | undefined => {
          const all = Pool.backends(pool);
          return all[which % Math.max(1, all.length)];
        };
        const lifeOf = ({ incarnation }: Backend): Life => lives.get(incarnation) ?? assert.fail();
        for (const step of events) {
          const backend = step._tag === "Discovered" ? undefined : nth(step.which);
          if (step._tag === "Discovered") {
            const first = pool.phase === "starting";
            [pool] = Pool.discovered(pool, step.list);
            for (const now of Pool.backends(pool)) {
              const said = step.list.find((one) => keyOf(one) === now.key)?.weight ?? assert.fail();
              const life = lives.get(now.incarnation);
              if (life !== undefined) life.listed = said;
              else {
                const chosen = weights.get(now.key);
                lives.set(now.incarnation, {
                  ...{ first, up: false, checked: false, tenths: 10, listed: said, chosen },
                });
              }
            }
          } else if (backend !== undefined) {
            const life = lifeOf(backend);
            switch (step._tag) {
              case "Observed":
                [pool] = Pool.observed(pool, backend, step.up ? succeeded : failed, 0);
                if (step.up && !life.up) life.tenths = life.first && !life.checked ? 10 : 1;
                if (!step.up) life.tenths = 10;
                life.up = step.up;
                life.checked = true;
                break;
              case "Raised":
                [pool] = Pool.raised(pool, [backend]);
                life.tenths = Math.min(10, life.tenths + 1);
                break;
              case "Weighed":
                [pool] = Pool.weighed(pool, backend.id, step.weight, { at: 0, by: "me" });
                life.chosen = step.weight;
                weights.set(backend.key, step.weight);
            }
          }
          for (const now of Pool.backends(pool)) {
            const { chosen, listed, tenths, up } = lifeOf(now);
            const whole = chosen ?? listed;
            const part = (whole * tenths) / 10;
            // From 10 on whole numbers, so that weights are few.
            assert.strictEqual(now.weight, part < 10 ? part : Math.round(part));
            assert.strictEqual(now.slowStart, tenths === 10 ? undefined : tenths);
            assert.strictEqual(now.eligible, up && whole > 0);
          }
        }
      }),
      { numRuns: 150 },
    );
  });
});

describe("the registry, with a slow start of 90 seconds", () => {
  const registry = (slowStart: string) =>
    layer({
      algorithm: roundRobin,
      rise: 1,
      fall: 1,
      slowStart: slowStart as "90 seconds" /* of these tests */,
    });

  const discover = (...ids: ReadonlyArray<string>) =>
    Effect.flatMap(BackendRegistry, ({ discovered }) => discovered(ids.map((id) => instance(id))));

  const observe = (observation: typeof succeeded, ...ids: ReadonlyArray<string>) =>
    Effect.gen(function* () {
      const { observed, pool } = yield* BackendRegistry;
      for (const backend of Pool.backends(yield* pool)) {
        if (ids.includes(backend.id)) yield* observed(backend, observation);
      }
    });

  const weights = Effect.flatMap(BackendRegistry, ({ pool }) => Effect.map(pool, weightsOf));

  /** Time passes, and the weights become these. */
  const afterwards = (seconds: number, expected: Readonly<Record<string, number>>) =>
    Effect.gen(function* () {
      yield* TestClock.adjust(`${seconds} seconds`);
      assert.deepStrictEqual(yield* weights, expected);
    });

  itEffect.effect("raises a backend in ten steps, whatever others join or leave meanwhile", () =>
    Effect.gen(function* () {
      const { events } = yield* BackendRegistry;
      const seen = yield* Effect.fork(
        (yield* events).pipe(
          Stream.filter(({ _tag }) => _tag === "SlowStart"),
          Stream.map((event) => (event._tag === "SlowStart" ? event.backend : assert.fail())),
          Stream.take(18),
          Stream.runCollect,
        ),
      );
      yield* discover("a");
      yield* observe(succeeded, "a");
      yield* discover("a", "b");
      yield* observe(succeeded, "b");
      yield* afterwards(9.999, { a: 1, b: 0.1 });
      yield* afterwards(0.001, { a: 1, b: 0.2 });
      yield* afterwards(35, { a: 1, b: 0.5 });
      yield* discover("a", "b", "c");
      yield* observe(succeeded, "c");
      yield* observe(succeeded, "a", "b");
      yield* afterwards(4.999, { a: 1, b: 0.5, c: 0.1 });
      yield* afterwards(0.001, { a: 1, b: 0.6, c: 0.1 });
      yield* discover("b", "c");
      yield* afterwards(39.999, { b: 0.9, c: 0.5 });
      yield* afterwards(0.001, { b: 1, c: 0.5 });
      yield* afterwards(44.999, { b: 1, c: 0.9 });
      yield* afterwards(0.001, { b: 1, c: 1 });
      const raised = [...(yield* Fiber.join(seen))];
      for (const id of ["b", "c"]) {
        assert.deepStrictEqual(
          raised.filter((backend) => backend.id === id).map(({ slowStart }) => slowStart),
          [2, 3, 4, 5, 6, 7, 8, 9, undefined],
        );
      }
    }).pipe(Effect.scoped, Effect.provide(registry("90 seconds"))),
  );

  itEffect.effect("begins anew when the backend goes down and comes up, also one of the first list", () =>
    Effect.gen(function* () {
      yield* discover("a", "b");
      yield* observe(succeeded, "a");
      yield* observe(failed, "b");
      yield* observe(succeeded, "b");
      yield* afterwards(25, { a: 1, b: 0.3 });
      yield* observe(failed, "b");
      yield* observe(succeeded, "b");
      yield* afterwards(9.999, { a: 1, b: 0.1 });
      yield* afterwards(0.001, { a: 1, b: 0.2 });
      yield* observe(failed, "b");
      yield* afterwards(1_000, { a: 1, b: 1 });
      yield* observe(succeeded, "a", "b");
      yield* afterwards(89.999, { a: 1, b: 0.9 });
      yield* afterwards(0.001, { a: 1, b: 1 });
    }).pipe(Effect.provide(registry("90 seconds"))),
  );

  itEffect.effect("reaches a weight that is chosen meanwhile, and raises one that is drained too", () =>
    Effect.gen(function* () {
      const { steer, weigh } = yield* BackendRegistry;
      yield* discover("a");
      yield* discover("a", "b");
      yield* observe(succeeded, "a", "b");
      yield* weigh("b", 20, "me");
      yield* steer("b", "draining", "me");
      yield* afterwards(10, { a: 1, b: 4 });
      yield* steer("b", "enabled", "me");
      yield* afterwards(80, { a: 1, b: 20 });
    }).pipe(Effect.provide(registry("90 seconds"))),
  );

  itEffect.effect(
    "forgets a backend that has gone, and raises another one in its place from the beginning",
    () =>
      Effect.gen(function* () {
        yield* discover("a");
        yield* discover("a", "b");
        yield* observe(succeeded, "a", "b");
        yield* afterwards(15, { a: 1, b: 0.2 });
        yield* discover("a");
        yield* discover("a", "b");
        yield* observe(succeeded, "b");
        yield* afterwards(9.999, { a: 1, b: 0.1 });
        yield* afterwards(80.001, { a: 1, b: 1 });
      }).pipe(Effect.provide(registry("90 seconds"))),
  );

  itEffect.effect("raises thousands that came up at once", () =>
    Effect.gen(function* () {
      const { discovered, observed, pool, until } = yield* BackendRegistry;
      yield* discover("a");
      yield* discovered(
        Array.from({ length: 1_500 }, (_, n) => ({
          id: `b${n}`,
          address: { host: `10.2.${n >> 8}.${n & 255}`, port: 80 },
        })),
      );
      for (const backend of Pool.backends(yield* pool)) yield* observed(backend, succeeded);
      yield* TestClock.adjust("10 seconds");
      yield* until((now) => Pool.backends(now).every(({ weight }) => weight === 0.2));
      yield* TestClock.adjust("80 seconds");
      yield* until((now) => Pool.backends(now).every(({ weight }) => weight === 1));
      assert.strictEqual((yield* pool).load.weight, 1_500);
    }).pipe(Effect.provide(registry("90 seconds"))),
  );

  itEffect.effect("gives all of it at once where none is set", () =>
    Effect.gen(function* () {
      yield* discover("a");
      yield* discover("a", "b");
      yield* observe(succeeded, "a", "b");
      assert.deepStrictEqual(yield* weights, { a: 1, b: 1 });
    }).pipe(Effect.provide(registry("0 seconds"))),
  );
});
