import { FastCheck as fc } from "effect";
import { assert, describe, it } from "vitest";
import { type Backend, type Instance, keyOf } from "../../src/backend/Backend.js";
import type { Observation } from "../../src/backend/Health.js";
import * as Pool from "../../src/backend/Pool.js";
import type { Algorithm } from "../../src/balancing/Algorithm.js";
import { ipHash } from "../../src/balancing/IpHash.js";
import { leastConnections } from "../../src/balancing/LeastConnections.js";
import * as Members from "../../src/balancing/Members.js";
import { roundRobin } from "../../src/balancing/RoundRobin.js";
import { finished } from "../support/Members.js";
import { failed as failedWith, succeeded } from "../support/Observations.js";

const thresholds = { rise: 2, fall: 3 };
const client = { host: "10.9.8.7" };
const algorithms: ReadonlyArray<Algorithm> = [roundRobin, leastConnections, ipHash];

const instance = (id: string, port = 3000): Instance => ({ id, address: { host: "10.0.0.1", port } });

const failed = failedWith("refused");

const found = (pool: Pool.Pool, id: string): Backend =>
  Members.toArray(pool.members).find((backend) => backend.id === id) ?? assert.fail(`there is no ${id}`);

const observedTimes = (pool: Pool.Pool, id: string, observation: Observation, times: number): Pool.Pool => {
  let after = pool;
  for (let i = 0; i < times; i++) [after] = Pool.observed(after, found(after, id), observation, i);
  return after;
};

/** A pool that serves these, all up. */
const serving = (ids: ReadonlyArray<string>, algorithm: Algorithm = roundRobin): Pool.Pool => {
  const [listed] = Pool.discovered(
    Pool.make(algorithm, thresholds),
    ids.map((id) => instance(id)),
  );
  return ids.reduce((pool, id) => observedTimes(pool, id, succeeded, 1), listed);
};

const assign = (pool: Pool.Pool, tried: ReadonlyArray<Backend> = []): readonly [Pool.Pool, Backend] => {
  const [after, assignment] = Pool.assigned(pool, client, tried);
  return [after, assignment?.backend ?? assert.fail("nothing was assigned")];
};

describe("Pool", () => {
  describe("against a simple model", () => {
    // What is remembered of one backend, from the time it was first listed until it has gone.
    interface Life {
      readonly key: string;
      readonly results: Array<boolean>;
      up: boolean;
      against: number;
      lastCheck: number | undefined;
      listed: boolean;
      open: number;
    }

    type Event =
      | { readonly _tag: "Discovered"; readonly list: ReadonlyArray<Instance> }
      | { readonly _tag: "Observed"; readonly which: number; readonly up: boolean }
      | { readonly _tag: "Assigned"; readonly tries: number }
      | { readonly _tag: "Released"; readonly which: number; readonly twice: boolean }
      | { readonly _tag: "DiscoveryFailed" };

    // Few ids and few ports, so that ids come back with the same address and with another one all the time.
    const listed = fc
      .tuple(fc.constantFrom("a", "b", "c", "d", "e"), fc.constantFrom(3000, 3001))
      .map(([id, port]) => instance(id, port));
    const event: fc.Arbitrary<Event> = fc.oneof(
      {
        weight: 3,
        arbitrary: fc.record({ _tag: fc.constant("Discovered" as const), list: fc.array(listed) }),
      },
      {
        weight: 8,
        arbitrary: fc.record({
          _tag: fc.constant("Observed" as const),
          which: fc.nat(),
          up: fc.oneof({ weight: 2, arbitrary: fc.constant(true) }, fc.constant(false)),
        }),
      },
      { weight: 8, arbitrary: fc.record({ _tag: fc.constant("Assigned" as const), tries: fc.nat(2) }) },
      {
        weight: 6,
        arbitrary: fc.record({
          _tag: fc.constant("Released" as const),
          which: fc.nat(),
          twice: fc.boolean(),
        }),
      },
      fc.record({ _tag: fc.constant("DiscoveryFailed" as const) }),
    );

    const eligible = (life: Life): boolean => life.listed && life.up;

    const agree = (pool: Pool.Pool, lives: ReadonlyMap<string, Life>, phase: Pool.Phase): void => {
      const all = [...lives.values()];
      assert.strictEqual(pool.phase, phase);
      assert.strictEqual(Pool.healthy(pool), all.filter(eligible).length);
      assert.strictEqual(pool.listed, all.filter((life) => life.listed).length);
      assert.strictEqual(
        pool.unchecked,
        all.filter((life) => life.listed && life.results.length === 0).length,
      );
      assert.strictEqual(
        pool.connections,
        all.reduce((sum, life) => sum + life.open, 0),
      );
      const held = Members.toArray(pool.members);
      assert.deepStrictEqual(
        held.map((backend) => backend.key).sort(),
        [...lives.keys()].sort(),
        "exactly those are held that are listed or have connections",
      );
      for (const backend of held) {
        const life = lives.get(backend.key) ?? assert.fail();
        assert.strictEqual(backend.health.up, life.up);
        assert.strictEqual(backend.health.checked, life.results.length > 0);
        assert.strictEqual(Pool.lastCheck(pool, backend), life.lastCheck);
        assert.strictEqual(backend.leaving, !life.listed);
        assert.strictEqual(backend.eligible, eligible(life));
        assert.strictEqual(Pool.connections(pool, backend), life.open);
        assert.strictEqual(backend.key, keyOf(backend));
      }
      assert.deepStrictEqual(
        Pool.backends(pool).map(({ key }) => key),
        held.filter(({ leaving }) => !leaving).map(({ key }) => key),
      );
    };

    it.each(algorithms)("holds what the model holds after any events, with $name", (algorithm) => {
      fc.assert(
        fc.property(fc.array(event, { maxLength: 120, size: "max" }), (events) => {
          let pool = Pool.make(algorithm, thresholds);
          let phase: Pool.Phase = "starting";
          const lives = new Map<string, Life>();
          // Every value of a backend that was ever handed out, with the life it stood for: a late release or a
          // late observation comes with one of these.
          const handed: Array<{ readonly backend: Backend; readonly life: Life }> = [];
          const open: Array<{ readonly backend: Backend; readonly life: Life }> = [];
          const keep = (): void => {
            for (const backend of Members.toArray(pool.members)) {
              const life = lives.get(backend.key) ?? assert.fail();
              if (!handed.some((other) => other.life === life && other.backend.slot === backend.slot)) {
                handed.push({ backend, life });
              }
            }
          };

          for (const [time, step] of events.entries()) {
            switch (step._tag) {
              case "Discovered": {
                if (phase === "starting") phase = "serving";
                const keys = new Set(step.list.map(keyOf));
                const shouldAdd = [...keys].filter((key) => lives.get(key)?.listed !== true);
                const shouldRemove = [...lives.values()].filter((life) => life.listed && !keys.has(life.key));
                const [after, change] = Pool.discovered(pool, step.list);
                assert.deepStrictEqual(change.added.map(({ key }) => key).sort(), shouldAdd.sort());
                assert.deepStrictEqual(
                  change.removed.map(({ key }) => key).sort(),
                  shouldRemove.map(({ key }) => key).sort(),
                );
                pool = after;
                for (const key of shouldAdd) {
                  const known = lives.get(key);
                  if (known !== undefined) known.listed = true;
                  else {
                    lives.set(key, {
                      ...{ key, results: [], up: false, against: 0, lastCheck: undefined },
                      ...{ listed: true, open: 0 },
                    });
                  }
                }
                for (const life of shouldRemove) {
                  life.listed = false;
                  if (life.open === 0) lives.delete(life.key);
                }
                keep();
                break;
              }
              case "Observed": {
                const about = handed[step.which % Math.max(1, handed.length)];
                if (about === undefined) break;
                const [after, transition] = Pool.observed(
                  pool,
                  about.backend,
                  step.up ? succeeded : failed,
                  time,
                );
                // One that has gone and come back is another one.
                const life = lives.get(about.life.key);
                if (life === undefined || life !== about.life) {
                  assert.strictEqual(after, pool, "a gone backend's observation changed the pool");
                  assert.isUndefined(transition);
                  break;
                }
                pool = after;
                const was = {
                  up: life.up,
                  checked: life.results.length > 0,
                  proven: life.results.includes(true),
                };
                life.results.push(step.up);
                life.lastCheck = time;
                if (!was.proven) life.up = step.up;
                else if (step.up === life.up) life.against = 0;
                else if (++life.against === (life.up ? thresholds.fall : thresholds.rise)) {
                  life.up = !life.up;
                  life.against = 0;
                }
                if (was.checked && was.up === life.up) assert.isUndefined(transition);
                else {
                  assert.strictEqual(transition?.backend.health.up, life.up);
                  assert.strictEqual(transition?.first, !was.checked);
                  assert.strictEqual(transition?.backend.key, life.key);
                }
                break;
              }
              case "Assigned": {
                const tried: Array<Backend> = [];
                for (let i = 0; i <= step.tries; i++) {
                  const left = [...lives.values()].filter(
                    (life) => eligible(life) && !tried.some(({ key }) => key === life.key),
                  );
                  const [after, assignment] = Pool.assigned(pool, client, tried);
                  if (left.length === 0) {
                    assert.isUndefined(assignment);
                    assert.strictEqual(after, pool);
                    break;
                  }
                  if (assignment === undefined)
                    return assert.fail("nothing was assigned though something is left");
                  const { backend } = assignment;
                  const life =
                    left.find(({ key }) => key === backend.key) ?? assert.fail("not one of those left");
                  if (algorithm === leastConnections) {
                    assert.strictEqual(life.open, Math.min(...left.map((other) => other.open)));
                  }
                  pool = after;
                  life.open += 1;
                  assert.strictEqual(assignment.connections, life.open);
                  tried.push(backend);
                  open.push({ backend, life });
                }
                break;
              }
              case "Released": {
                const at = step.which % Math.max(1, open.length);
                const [ended] = open.splice(at, 1);
                if (ended === undefined) break;
                pool = Pool.released(pool, ended.backend);
                ended.life.open -= 1;
                if (ended.life.open === 0 && !ended.life.listed) {
                  lives.delete(ended.life.key);
                  // Once more for one that has gone: whoever has its slot now is not touched.
                  if (step.twice) assert.strictEqual(Pool.released(pool, ended.backend), pool);
                }
                break;
              }
              case "DiscoveryFailed":
                pool = Pool.discoveryFailed(pool, "why");
                assert.strictEqual(pool.notListed, phase === "starting" ? "why" : undefined);
                break;
            }
            agree(pool, lives, phase);
          }

          for (const { backend } of open) pool = Pool.released(pool, backend);
          assert.strictEqual(pool.connections, 0);
          assert.isTrue(
            Members.toArray(pool.members).every(
              (backend) => Pool.connections(pool, backend) === 0 && !backend.leaving,
            ),
          );
        }),
        { numRuns: 120 },
      );
    });
  });

  describe("discovered", () => {
    it("keeps health, connections and last check through a list in another order", () => {
      let pool = serving(["a", "b", "c"]);
      [pool] = assign(pool);
      [pool] = Pool.observed(pool, found(pool, "b"), failed, 1234);
      const [after, change] = Pool.discovered(
        pool,
        ["c", "a", "b"].map((id) => instance(id)),
      );
      assert.strictEqual(after, pool);
      assert.deepStrictEqual(change, { added: [], removed: [], altered: [], invalid: [] });
    });

    it("keeps round-robin's rotation through lists in another order", () => {
      let pool = serving(["a", "b", "c"]);
      const taken: Array<string> = [];
      for (const order of [
        ["c", "b", "a"],
        ["b", "c", "a"],
        ["a", "c", "b"],
        ["c", "a", "b"],
        ["b", "a", "c"],
        ["a", "b", "c"],
      ]) {
        [pool] = Pool.discovered(
          pool,
          order.map((id) => instance(id)),
        );
        const [after, backend] = assign(pool);
        pool = after;
        taken.push(backend.id);
      }
      assert.deepStrictEqual(taken, ["a", "b", "c", "a", "b", "c"]);
    });

    it("gives a backend that leaves no new connection and keeps it until its last one ends", () => {
      const [taken, held] = assign(serving(["a", "b"]));
      let pool = taken;
      assert.strictEqual(held.id, "a");
      [pool] = Pool.discovered(pool, [instance("b")]);
      assert.strictEqual(pool.listed, 1);
      assert.strictEqual(pool.connections, 1);
      for (let i = 0; i < 4; i++) {
        let other: Backend;
        [pool, other] = assign(pool);
        assert.strictEqual(other.id, "b");
      }
      assert.strictEqual(Pool.connections(pool, held), 1);
      pool = Pool.released(pool, held);
      assert.isUndefined(Pool.current(pool, held));
      assert.strictEqual(pool.connections, 4);
    });

    it("takes an id that comes back with another address for a new backend", () => {
      let pool = serving(["a"]);
      const old = found(pool, "a");
      const [after, change] = Pool.discovered(pool, [instance("a", 4000)]);
      pool = after;
      assert.deepStrictEqual(
        [change.added, change.removed].map((some) => some.map(({ address }) => address.port)),
        [[4000], [3000]],
      );
      assert.strictEqual(Pool.healthy(pool), 0);
      assert.strictEqual(pool.unchecked, 1);
      assert.isUndefined(Pool.lastCheck(pool, found(pool, "a")));
      assert.strictEqual(Pool.observed(pool, old, succeeded, 5)[0], pool, "it is not the old one that is up");
    });
  });

  describe("a slot that is used again", () => {
    it("is not touched by what is said late of the backend that had it before", () => {
      let pool = serving(["a", "b"]);
      const gone = found(pool, "a");
      [pool] = Pool.discovered(pool, [instance("b")]);
      [pool] = Pool.discovered(pool, [instance("b"), instance("n")]);
      const heir = found(pool, "n");
      assert.strictEqual(heir.slot, gone.slot);
      assert.strictEqual(Pool.observed(pool, gone, succeeded, 9)[0], pool);
      pool = observedTimes(pool, "n", succeeded, 1);
      [pool] = assign(pool);
      [pool] = assign(pool);
      assert.strictEqual(Pool.connections(pool, found(pool, "n")), 1);
      assert.strictEqual(Pool.released(pool, gone), pool);
      // And to have tried the one that is gone does not rule out its heir.
      assert.strictEqual(assign(pool, [gone, found(pool, "b")])[1].id, "n");
    });
  });

  describe("released", () => {
    it("never counts below zero, and a release too many takes nothing from other backends", () => {
      const [once, first] = assign(serving(["a", "b"]));
      const [twice, second] = assign(once);
      const pool = Pool.released(Pool.released(twice, first), first);
      assert.strictEqual(Pool.connections(pool, found(pool, first.id)), 0);
      assert.strictEqual(Pool.connections(pool, found(pool, second.id)), 1);
      assert.strictEqual(pool.connections, 1);
    });
  });

  describe.each(algorithms)("assigned with tried backends, by $name", (algorithm) => {
    it("passes over each of them, and ends with nothing once all were tried", () => {
      fc.assert(
        fc.property(fc.integer({ min: 1, max: 20 }), fc.ipV4(), fc.boolean(), (size, host, prepares) => {
          let pool = serving(
            Array.from({ length: size }, (_, i) => `b${i}`),
            algorithm,
          );
          if (prepares && algorithm.prepare !== undefined) {
            pool = Pool.prepared(pool, finished(algorithm.prepare(pool.members, pool.state)));
          }
          const tried: Array<Backend> = [];
          for (let i = 0; i < size; i++) {
            const [after, assignment] = Pool.assigned(pool, { host }, tried);
            if (assignment === undefined) return assert.fail("there was one left");
            const { backend } = assignment;
            assert.notInclude(
              tried.map(({ key }) => key),
              backend.key,
            );
            tried.push(backend);
            pool = after;
          }
          assert.isUndefined(Pool.assigned(pool, { host }, tried)[1]);
          assert.strictEqual(Pool.healthy(pool), size, "to be tried in vain is not to be down");
        }),
        { numRuns: algorithm === ipHash ? 10 : 50 },
      );
    });
  });

  it("gives a client of ip-hash the same second choice every time: the one it has when the first is gone", () => {
    const ids = Array.from({ length: 10 }, (_, i) => `b${i}`);
    let pool = serving(ids, ipHash);
    pool = Pool.prepared(pool, finished(ipHash.prepare?.(pool.members, ipHash.initial) ?? assert.fail()));
    for (let i = 0; i < 200; i++) {
      const one = { host: `10.0.${i}.1` };
      const [, first] = Pool.assigned(pool, one, []);
      if (first === undefined) return assert.fail();
      const [, second] = Pool.assigned(pool, one, [first.backend]);
      const [rest] = Pool.discovered(
        pool,
        ids.filter((id) => id !== first.backend.id).map((id) => instance(id)),
      );
      assert.strictEqual(Pool.assigned(rest, one, [])[1]?.backend.id, second?.backend.id);
      assert.strictEqual(Pool.assigned(pool, one, [first.backend])[1]?.backend.id, second?.backend.id);
    }
  });

  it("counts a connection when it is assigned: a burst spreads before any of it has connected", () => {
    let pool = serving(["a", "b", "c"], leastConnections);
    for (let i = 0; i < 9; i++) [pool] = assign(pool);
    assert.deepStrictEqual(
      Members.toArray(pool.members).map((backend) => Pool.connections(pool, backend)),
      [3, 3, 3],
    );
  });

  describe("failed connects of clients", () => {
    const byClient = failedWith("refused", "refused", "client");
    const observe = (pool: Pool.Pool, id: string, observation: Observation, at = 0): Pool.Pool =>
      Pool.observed(pool, found(pool, id), observation, at)[0];

    it("take down all backends but the last healthy one, which is left to the probes", () => {
      let pool = serving(["a", "b"]);
      for (let n = 0; n < 10; n++) pool = observe(observe(pool, "a", byClient), "b", byClient);
      assert.deepStrictEqual(
        Pool.backends(pool).map(({ health }) => health.up),
        [false, true],
      );
      pool = observe(pool, "b", failed);
      assert.strictEqual(Pool.healthy(pool), 0);
    });

    it("do not add up where others succeed in between, and a success costs nothing where none has failed", () => {
      const pool = serving(["a", "b"]);
      assert.strictEqual(Pool.connected(pool, found(pool, "a"), 1), pool);
      let later = pool;
      for (let n = 0; n < 30; n++) {
        later = observe(observe(later, "a", byClient, n), "a", byClient, n);
        assert.strictEqual(later.failing, 1);
        later = Pool.connected(later, found(later, "a"), n);
        assert.strictEqual(later.failing, 0);
      }
      assert.strictEqual(Pool.healthy(later), 2);
    });

    it("count as one where they were under way at the same time", () => {
      let pool = serving(["a", "b"]);
      for (let n = 0; n < 50; n++) pool = observe(pool, "a", { ...byClient, began: n - 100 }, n);
      assert.strictEqual(Pool.healthy(pool), 2);
    });
  });

  it("keeps where a rotation stands when a table has been prepared", () => {
    let pool = serving(["a", "b", "c"]);
    [pool] = assign(pool);
    pool = Pool.prepared(pool, { into: (state) => state });
    assert.strictEqual(assign(pool)[1].id, "b");
  });

  it("steers every backend with a name, and one alone by its id", () => {
    const web = ["10.0.0.1", "10.0.0.2"].map((host) => ({
      id: `web:80@${host}`,
      name: "web:80",
      address: { host, port: 80 },
    }));
    const [pool] = Pool.discovered(Pool.make(roundRobin, thresholds), [...web, instance("a")]);
    const by = { at: 1, by: "10.0.0.9" };
    const drained = (idOrName: string): ReadonlyArray<string> => {
      const [after, changes] = Pool.steered(pool, idOrName, "draining", by);
      const ids = Pool.backends(after)
        .filter(({ admin }) => admin === "draining")
        .map(({ id }) => id);
      assert.deepStrictEqual(
        changes.map(({ backend }) => backend.id),
        ids,
      );
      return ids;
    };
    assert.deepStrictEqual(drained("web:80"), ["web:80@10.0.0.1", "web:80@10.0.0.2"]);
    assert.deepStrictEqual(drained("web:80@10.0.0.2"), ["web:80@10.0.0.2"]);
    assert.deepStrictEqual(drained("a"), ["a"]);
    assert.deepStrictEqual(drained("web"), []);
  });
});
