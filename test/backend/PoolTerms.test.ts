import { FastCheck as fc } from "effect";
import { assert, describe, it } from "vitest";
import { type Admin, type Backend, type Instance, keyOf } from "../../src/backend/Backend.js";
import * as Pool from "../../src/backend/Pool.js";
import type { Algorithm } from "../../src/balancing/Algorithm.js";
import { algorithms } from "../../src/balancing/Algorithms.js";
import { ipHash } from "../../src/balancing/IpHash.js";
import type { Role } from "../../src/balancing/Members.js";
import * as Members from "../../src/balancing/Members.js";
import { roundRobin } from "../../src/balancing/RoundRobin.js";
import { finished } from "../support/Members.js";
import { failed as failedWith, succeeded } from "../support/Observations.js";

const thresholds = { rise: 1, fall: 1 };
const failed = failedWith("refused");
const client = { host: "10.9.8.7" };

type Terms = Pick<Instance, "weight" | "limit" | "role">;

const instance = (id: string, terms: Terms = {}): Instance => ({
  id,
  address: { host: `10.0.0.${1 + (id.charCodeAt(0) & 127)}`, port: 3000 },
  ...terms,
});

/** A pool that serves these, all up. */
const serving = (
  instances: ReadonlyArray<Instance>,
  algorithm: Algorithm = roundRobin,
  limit?: number,
): Pool.Pool => {
  let [pool] = Pool.discovered(Pool.make(algorithm, thresholds, limit), instances);
  for (const backend of Pool.backends(pool)) [pool] = Pool.observed(pool, backend, succeeded, 0);
  return pool;
};

const found = (pool: Pool.Pool, id: string): Backend =>
  Pool.backends(pool).find((backend) => backend.id === id) ?? assert.fail(`there is no ${id}`);

const ids = (pool: Pool.Pool, times: number): string => {
  let now = pool;
  let all = "";
  for (let n = 0; n < times; n++) {
    const [after, assignment] = Pool.assigned(now, { host: `10.1.${n >> 8}.${n & 255}` }, []);
    now = after;
    all += assignment?.backend.id ?? "-";
  }
  return all;
};

describe.each(Object.values(algorithms))("weights, limits and roles, with $name", (algorithm: Algorithm) => {
  interface Life {
    readonly key: string;
    terms: { readonly weight: number; readonly limit: number; readonly role: Role };
    up: boolean;
    admin: Admin;
    /** In place of that of the terms. */
    weight: number | undefined;
    listed: boolean;
    open: number;
  }

  const limitOfOthers = 4;
  const terms: fc.Arbitrary<Terms> = fc.record({
    weight: fc.constantFrom(undefined, 0, 1, 3, 256),
    limit: fc.constantFrom(undefined, 1, 2),
    role: fc.constantFrom<Array<Role | undefined>>(undefined, "primary", "backup"),
  });
  const listed = fc.tuple(fc.constantFrom(..."abcdef"), terms).map(([id, some]) => instance(id, some));
  const event = fc.oneof(
    {
      weight: 2,
      arbitrary: fc.record({
        _tag: fc.constant("Discovered" as const),
        list: fc.uniqueArray(listed, { selector: keyOf, minLength: 3 }),
      }),
    },
    {
      weight: 4,
      arbitrary: fc.record({
        _tag: fc.constant("Observed" as const),
        which: fc.nat(),
        up: fc.oneof({ weight: 3, arbitrary: fc.constant(true) }, fc.constant(false)),
      }),
    },
    {
      weight: 1,
      arbitrary: fc.record({
        _tag: fc.constant("Steered" as const),
        which: fc.nat(),
        admin: fc.constantFrom<Array<Admin>>("enabled", "enabled", "draining", "disabled"),
      }),
    },
    {
      weight: 1,
      arbitrary: fc.record({
        _tag: fc.constant("Weighed" as const),
        which: fc.nat(),
        weight: fc.constantFrom(undefined, 0, 2, 256),
      }),
    },
    { weight: 10, arbitrary: fc.record({ _tag: fc.constant("Assigned" as const), tries: fc.nat(2) }) },
    { weight: 6, arbitrary: fc.record({ _tag: fc.constant("Released" as const), which: fc.nat() }) },
    { weight: 1, arbitrary: fc.record({ _tag: fc.constant("Prepared" as const) }) },
  );

  const weightOf = ({ terms, weight }: Life): number => weight ?? terms.weight;
  const eligible = (life: Life): boolean =>
    life.listed && life.up && life.admin === "enabled" && weightOf(life) > 0;

  // A model that looks at all of them each time.
  const openIn = (lives: ReadonlyArray<Life>): ReadonlyArray<Life> => {
    const able = lives.filter(eligible);
    const primaries = able.filter((life) => life.terms.role === "primary");
    const inService = primaries.length > 0 ? primaries : able;
    return inService.filter(({ open, terms }) => open < terms.limit);
  };

  it("never exceed a limit, never use a backup while a primary one can, nor weight 0, and leave nobody out", () => {
    fc.assert(
      fc.property(fc.array(event, { minLength: 20, maxLength: 100, size: "max" }), (events) => {
        let pool = Pool.make(algorithm, thresholds, limitOfOthers);
        const lives = new Map<string, Life>();
        const chosen = new Map<string, Admin>();
        const weights = new Map<string, number | undefined>();
        const open: Array<{ readonly backend: Backend; readonly life: Life }> = [];
        const nth = (which: number): Backend | undefined => {
          const all = Pool.backends(pool);
          return all[which % Math.max(1, all.length)];
        };
        for (const step of events) {
          switch (step._tag) {
            case "Discovered": {
              [pool] = Pool.discovered(pool, step.list);
              const keys = new Set(step.list.map(keyOf));
              for (const some of step.list) {
                const { limit = limitOfOthers, role = "primary", weight = 1 } = some;
                const key = keyOf(some);
                const life = lives.get(key);
                const now = { limit, role, weight };
                if (life !== undefined) Object.assign(life, { terms: now, listed: true });
                else {
                  const admin = chosen.get(key) ?? "enabled";
                  const weight = weights.get(key);
                  lives.set(key, { key, terms: now, up: false, admin, weight, listed: true, open: 0 });
                }
              }
              for (const life of lives.values()) {
                if (!keys.has(life.key)) life.listed = false;
                if (!life.listed && life.open === 0) lives.delete(life.key);
              }
              break;
            }
            case "Observed": {
              const backend = nth(step.which);
              if (backend === undefined) break;
              [pool] = Pool.observed(pool, backend, step.up ? succeeded : failed, 0);
              (lives.get(backend.key) ?? assert.fail()).up = step.up;
              break;
            }
            case "Steered": {
              const backend = nth(step.which);
              if (backend === undefined) break;
              [pool] = Pool.steered(pool, backend.id, step.admin, { at: 0, by: "me" });
              chosen.set(backend.key, step.admin);
              (lives.get(backend.key) ?? assert.fail()).admin = step.admin;
              break;
            }
            case "Weighed": {
              const backend = nth(step.which);
              if (backend === undefined) break;
              [pool] = Pool.weighed(pool, backend.id, step.weight, { at: 0, by: "me" });
              weights.set(backend.key, step.weight);
              (lives.get(backend.key) ?? assert.fail()).weight = step.weight;
              break;
            }
            case "Assigned": {
              const tried: Array<Backend> = [];
              for (let i = 0; i <= step.tries; i++) {
                const left = openIn([...lives.values()]).filter(
                  ({ key }) => !tried.some((one) => one.key === key),
                );
                const [after, assignment] = Pool.assigned(pool, { host: `10.0.0.${open.length}` }, tried);
                if (assignment === undefined) {
                  assert.strictEqual(left.length, 0, "somebody could have taken it");
                  break;
                }
                const { backend } = assignment;
                const life = left.find(({ key }) => key === backend.key);
                if (life === undefined) return assert.fail(`${backend.key} is not one of those left`);
                pool = after;
                life.open += 1;
                assert.strictEqual(assignment.connections, life.open);
                tried.push(backend);
                open.push({ backend, life });
              }
              break;
            }
            case "Released": {
              const [ended] = open.splice(step.which % Math.max(1, open.length), 1);
              if (ended === undefined) break;
              pool = Pool.released(pool, ended.backend);
              ended.life.open -= 1;
              if (ended.life.open === 0 && !ended.life.listed) lives.delete(ended.life.key);
              break;
            }
            case "Prepared":
              if (algorithm.prepare !== undefined) {
                pool = Pool.prepared(pool, finished(algorithm.prepare(pool.members, pool.state)));
              }
          }
          assert.strictEqual(Pool.healthy(pool), [...lives.values()].filter(eligible).length);
          for (const backend of Members.toArray(pool.members)) {
            const life = lives.get(backend.key) ?? assert.fail();
            assert.strictEqual(Pool.connections(pool, backend), life.open);
            assert.strictEqual(backend.eligible, eligible(life));
            assert.strictEqual(backend.limit, life.terms.limit);
            assert.strictEqual(backend.role, life.terms.role);
            assert.strictEqual(backend.weight, weightOf(life));
          }
        }
        for (const { backend } of open) pool = Pool.released(pool, backend);
        assert.strictEqual(pool.connections, 0);
      }),
      { numRuns: algorithm === ipHash ? 40 : 200 },
    );
  });

  it("give backups all connections once no primary one can take any, and none from then on when one can", () => {
    let pool = serving(
      [instance("a"), instance("b"), instance("x", { role: "backup" }), instance("y", { role: "backup" })],
      algorithm,
    );
    assert.match(ids(pool, 50), /^[ab]+$/);
    [pool] = Pool.observed(pool, found(pool, "a"), failed, 0);
    assert.strictEqual(ids(pool, 10), "b".repeat(10));
    [pool] = Pool.steered(pool, "b", "draining", { at: 0, by: "me" });
    assert.match(ids(pool, 50), /^(?=.*x)(?=.*y)[xy]+$/);
    [pool] = Pool.steered(pool, "b", "enabled", { at: 0, by: "me" });
    assert.strictEqual(ids(pool, 10), "b".repeat(10));
  });

  it("leave backups alone while primary ones are only full", () => {
    const pool = serving([instance("a", { limit: 2 }), instance("x", { role: "backup" })], algorithm);
    assert.strictEqual(ids(pool, 5), "aa---");
  });

  it("change with a list, and connections that are open stay counted", () => {
    let pool = serving([instance("a"), instance("b", { role: "backup" })], algorithm);
    [pool] = Pool.assigned(pool, client, []);
    const [after, change] = Pool.discovered(pool, [
      instance("a", { role: "backup", limit: 5, weight: 7 }),
      instance("b"),
    ]);
    assert.deepStrictEqual(
      change.altered.map(({ id, limit, role, weight }) => ({ id, limit, role, weight })),
      [
        { id: "a", limit: 5, role: "backup", weight: 7 },
        { id: "b", limit: Infinity, role: "primary", weight: 1 },
      ],
    );
    assert.deepStrictEqual([change.added, change.removed], [[], []]);
    assert.strictEqual(Pool.connections(after, found(after, "a")), 1);
    assert.strictEqual(ids(after, 3), "bbb");
    const again = Pool.discovered(after, [
      instance("a", { role: "backup", limit: 5, weight: 7 }),
      instance("b"),
    ]);
    assert.strictEqual(again[0], after, "the same list again changes nothing");
  });
});

describe("a limit for all", () => {
  it("holds for backends that have none of their own", () => {
    const pool = serving([instance("a"), instance("b", { limit: 4 })], roundRobin, 1);
    assert.strictEqual(ids(pool, 6), "abbbb-");
  });
});
