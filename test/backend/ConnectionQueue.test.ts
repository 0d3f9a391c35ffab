import { FastCheck as fc } from "effect";
import { assert, describe, it } from "vitest";
import type { Backend, Instance } from "../../src/backend/Backend.js";
import { ConnectionQueue, type Step, type Waiter } from "../../src/backend/ConnectionQueue.js";
import * as Pool from "../../src/backend/Pool.js";
import type { Algorithm } from "../../src/balancing/Algorithm.js";
import { algorithms } from "../../src/balancing/Algorithms.js";
import { ipHash } from "../../src/balancing/IpHash.js";
import { roundRobin } from "../../src/balancing/RoundRobin.js";
import { failed, succeeded } from "../support/Observations.js";

interface Named extends Waiter {
  readonly name: string;
}

const instance = (id: string, limit: number, weight = 1): Instance => ({
  id,
  address: { host: `10.0.0.${id.charCodeAt(0) & 127}`, port: 3000 },
  limit,
  weight,
});

/** A pool and those who wait, as the registry holds them. */
class World {
  pool: Pool.Pool;
  readonly queue = new ConnectionQueue<Named>(1_000);
  /** Those who wait, in the order in which they came. */
  waiting: Array<Named> = [];
  /** Whoever waits no longer, and how it ended. */
  readonly told: Array<string> = [];
  #names = 0;

  constructor(
    readonly algorithm: Algorithm,
    instances: ReadonlyArray<Instance>,
    /** Called with each step before the model follows it. */
    readonly onStep: (world: World, before: Pool.Pool, step: Step<Named>) => void = () => {},
  ) {
    this.pool = Pool.make(algorithm, { rise: 1, fall: 1 });
    this.list(instances);
    for (const backend of Pool.backends(this.pool)) this.observe(backend.id, true);
  }

  named(id: string): Backend | undefined {
    return Pool.backends(this.pool).find((backend) => backend.id === id);
  }

  list(instances: ReadonlyArray<Instance>): void {
    [this.pool] = Pool.discovered(this.pool, instances);
    this.queue.check();
  }

  observe(id: string, up: boolean): void {
    const backend = this.named(id);
    if (backend === undefined) return;
    // The last healthy one is taken down by probes alone.
    [this.pool] = Pool.observed(
      this.pool,
      backend,
      up ? succeeded : { ...failed("refused"), by: "probe" },
      0,
    );
    this.queue.check();
  }

  /** A client comes: it has a backend at once, or waits. */
  come(host: string, tried: ReadonlyArray<Backend> = []): string {
    const [after, assignment] = Pool.assigned(this.pool, { host }, tried);
    this.pool = after;
    if (assignment !== undefined) return assignment.backend.id;
    if (!Pool.mayWait(this.pool, tried)) return "refused";
    this.#names += 1;
    const waiter = { name: `w${this.#names}`, client: { host }, tried };
    this.waiting.push(waiter);
    this.pool = this.queue.join(waiter, this.pool);
    return waiter.name;
  }

  /** A connection of a backend ends. */
  end(id: string): void {
    const backend = this.named(id);
    if (backend === undefined || Pool.connections(this.pool, backend) === 0) return;
    this.pool = Pool.released(this.pool, backend);
    this.queue.offer();
  }

  leave(waiter: Named | undefined): void {
    if (waiter === undefined) return;
    assert.isTrue(this.queue.leave(waiter));
    this.waiting = this.waiting.filter((one) => one !== waiter);
  }

  /** Makes so many steps; true when there is nothing more to be done. */
  settle(steps = 10_000): boolean {
    for (let n = 0; n < steps; n++) {
      const before = this.pool;
      const [after, step] = this.queue.step(before);
      this.onStep(this, before, step);
      this.pool = after;
      if (step._tag === "Ended") return true;
      if (step._tag === "Waits") continue;
      this.told.push(
        `${step.waiter.name} ${step._tag === "Assigned" ? step.assignment.backend.id : step._tag}`,
      );
      this.waiting = this.waiting.filter((one) => one !== step.waiter);
    }
    return false;
  }
}

const full = (limit = 1) => {
  const world = new World(roundRobin, [instance("a", limit), instance("b", limit)]);
  world.settle();
  for (let n = 0; n < 2 * limit; n++) world.come(`10.9.0.${n}`);
  return world;
};

describe("the queue of clients", () => {
  it("gives each place to the first", () => {
    const world = full();
    assert.deepStrictEqual(
      ["10.1.0.1", "10.1.0.2", "10.1.0.3"].map((host) => world.come(host)),
      ["w1", "w2", "w3"],
    );
    assert.isTrue(world.settle());
    assert.deepStrictEqual(world.told, []);
    world.end("b");
    world.settle();
    world.end("a");
    world.settle();
    assert.deepStrictEqual(world.told, ["w1 b", "w2 a"]);
    assert.strictEqual(world.queue.size, 1);
  });

  it("gives nobody a backend that it could not be connected to, and the place to the next", () => {
    const world = full();
    world.come("10.1.0.1", [world.named("a") ?? assert.fail()]);
    world.come("10.1.0.2");
    world.end("a");
    world.settle();
    assert.deepStrictEqual(world.told, ["w2 a"]);
    world.end("b");
    world.settle();
    assert.deepStrictEqual(world.told, ["w2 a", "w1 b"]);
  });

  it("lets nobody wait for backends that are gone, and tells each", () => {
    const world = full();
    world.come("10.1.0.1");
    world.come("10.1.0.2", [world.named("a") ?? assert.fail()]);
    world.observe("b", false);
    world.settle();
    assert.deepStrictEqual(world.told, ["w2 Hopeless"]);
    world.list([]);
    world.settle();
    assert.deepStrictEqual(world.told, ["w2 Hopeless", "w1 Hopeless"]);
  });

  it("gives the places of a higher limit, and those of a backend that comes up", () => {
    const world = full();
    for (let n = 1; n <= 4; n++) world.come(`10.1.0.${n}`);
    world.list([instance("a", 2), instance("b", 1), instance("c", 1)]);
    world.settle();
    assert.deepStrictEqual(world.told, ["w1 a"]);
    world.observe("c", true);
    world.settle();
    assert.deepStrictEqual(world.told, ["w1 a", "w2 c"]);
    assert.strictEqual(world.queue.size, 2);
  });

  it("gives the place of a backend to the first whose backend it is with ip-hash, and otherwise to the first", () => {
    const world = new World(ipHash, [instance("a", 1), instance("b", 1)]);
    world.settle();
    const mine = (id: string): ReadonlyArray<string> =>
      Array.from({ length: 200 }, (_, n) => `10.2.0.${n}`).filter(
        (host) => Pool.preferred(world.pool, { host })[1]?.id === id,
      );
    const [ofA, ofB] = [mine("a"), mine("b")];
    world.come(String(ofA[0]));
    world.come(String(ofB[0]));
    for (const host of [ofA[1], ofA[2], ofB[1], ofB[2]]) world.come(String(host));
    for (let n = 0; n < 3; n++) {
      world.end("b");
      world.settle();
    }
    assert.deepStrictEqual(world.told, ["w3 b", "w4 b", "w1 b"]);
  });

  it("ends the wait of one for whom the algorithm throws, and of nobody else", () => {
    const broken: Algorithm = {
      ...roundRobin,
      choose: (members, load, state, client) => {
        if (client.host === "10.1.0.1") throw new Error("broken");
        return (roundRobin as Algorithm).choose(members, load, state, client);
      },
    };
    const world = new World(broken, [instance("a", 1)]);
    world.settle();
    world.come("10.9.0.1");
    world.queue.join({ name: "w0", client: { host: "10.1.0.1" }, tried: [] }, world.pool);
    world.come("10.1.0.2");
    world.end("a");
    world.settle();
    assert.deepStrictEqual(world.told, ["w0 Broken", "w1 a"]);
  });
});

describe.each(Object.values(algorithms))("the queue, with $name", (algorithm: Algorithm) => {
  const ids = ["a", "b", "c"];
  const event = fc.oneof(
    { weight: 6, arbitrary: fc.record({ _tag: fc.constant("Come" as const), host: fc.nat(40) }) },
    {
      weight: 2,
      arbitrary: fc.record({
        _tag: fc.constant("Retry" as const),
        host: fc.nat(40),
        tried: fc.subarray(ids, { minLength: 1 }),
      }),
    },
    { weight: 4, arbitrary: fc.record({ _tag: fc.constant("End" as const), id: fc.constantFrom(...ids) }) },
    { weight: 1, arbitrary: fc.record({ _tag: fc.constant("Leave" as const), at: fc.nat(10) }) },
    {
      weight: 2,
      arbitrary: fc.record({
        _tag: fc.constant("Observe" as const),
        id: fc.constantFrom(...ids),
        up: fc.boolean(),
      }),
    },
    {
      weight: 1,
      arbitrary: fc.record({
        _tag: fc.constant("List" as const),
        list: fc.uniqueArray(
          fc
            .tuple(fc.constantFrom(...ids), fc.integer({ min: 1, max: 3 }), fc.constantFrom(0, 1, 2))
            .map(([id, limit, weight]) => instance(id, limit, weight)),
          { selector: ({ id }) => id, minLength: 1 },
        ),
      }),
    },
    { weight: 3, arbitrary: fc.record({ _tag: fc.constant("Steps" as const), count: fc.nat(3) }) },
  );

  /** `whole`: there is nothing to be done any more before the next event comes. */
  const run = (whole: boolean) =>
    fc.assert(
      fc.property(fc.array(event, { maxLength: 80 }), (events) => {
        let settled = true;
        const world: World = new World(
          algorithm,
          ids.map((id) => instance(id, 2)),
          ({ pool, waiting }, before, step) => {
            if (step._tag !== "Assigned") return;
            const { assignment, waiter } = step;
            const { backend, connections } = assignment;
            assert.isAtMost(connections, backend.limit);
            assert.notInclude(
              waiter.tried.map(({ incarnation }) => incarnation),
              backend.incarnation,
            );
            const first = waiting.find(({ tried }) => Pool.hasPlace(before, tried));
            const isChosen = ({ client, tried }: Named) =>
              Pool.preferred(before, client)[1]?.incarnation === backend.incarnation &&
              tried.every(({ incarnation }) => incarnation !== backend.incarnation);
            const next = waiting.find(isChosen) ?? first;
            if (whole || algorithm.preferred === undefined) assert.strictEqual(waiter, next);
            else assert.isTrue(waiter === first || isChosen(waiter));
            assert.strictEqual(pool, before);
          },
        );
        world.settle();
        for (const one of events) {
          switch (one._tag) {
            case "Come":
              // Nobody who comes is given a place before what there is to be done is done.
              if (!settled) settled = world.settle();
              world.come(`10.3.0.${one.host}`);
              break;
            case "Retry":
              if (!settled) settled = world.settle();
              world.come(
                `10.3.0.${one.host}`,
                one.tried.flatMap((id) => world.named(id) ?? []),
              );
              break;
            case "End":
              world.end(one.id);
              settled = false;
              break;
            case "Leave":
              world.leave(world.waiting[one.at]);
              break;
            case "Observe":
              world.observe(one.id, one.up);
              settled = false;
              break;
            case "List":
              world.list(one.list);
              settled = false;
              break;
            case "Steps":
              settled = world.settle(one.count);
          }
          if (whole) settled = world.settle();
          assert.strictEqual(world.queue.size, world.waiting.length);
          if (!settled) continue;
          for (const { tried } of world.waiting) {
            assert.isFalse(Pool.hasPlace(world.pool, tried), "it waits while there is a place for it");
            assert.isTrue(Pool.mayWait(world.pool, tried), "it waits for nothing");
          }
        }
      }),
      { numRuns: 300 },
    );

  it("keeps the order, loses no place and lets nobody wait for nothing, through any events", () => run(true));

  it("does so too where events come between its steps", () => run(false));
});
