import { FastCheck as fc } from "effect";
import { assert, describe, it } from "vitest";
import type { Admin, Instance } from "../../src/backend/Backend.js";
import * as Pool from "../../src/backend/Pool.js";
import { roundRobin } from "../../src/balancing/RoundRobin.js";
import * as Json from "../../src/json/Json.js";
import { JsonList } from "../../src/json/JsonList.js";
import * as State from "../../src/state/State.js";
import { finished } from "../support/Members.js";

const about = { source: "an Operator", written: 1_700_000_000_000, toEpoch: (millis: number) => millis };

const textOf = (pool: Pool.Pool): Buffer =>
  Buffer.concat(finished(Json.list(State.entries(pool, about), "", "\n", ",\n")));

/** What is read of a text that comes in pieces of this length. */
const read = (text: Uint8Array, pieceLength = text.length + 1) => {
  const reader = new State.Reader();
  const list = new JsonList(State.limits, (entry, place) => reader.add(entry, place));
  for (let at = 0; at < text.length; at += pieceLength) {
    finished(list.push(text.subarray(at, at + pieceLength)));
  }
  const problem = list.end();
  return problem === undefined ? reader.end() : { wrong: problem };
};

const instances = fc.uniqueArray(
  fc.record(
    {
      id: fc.constantFrom("a", "b c", "ü\u{1f600}", '"\\', "x".repeat(255)),
      address: fc.record({
        host: fc.constantFrom("10.0.0.1", "2001:db8::5", "fe80::1%eth0"),
        port: fc.integer({ min: 1, max: 65_535 }),
      }),
      name: fc.constantFrom("web:80", "n".repeat(259)),
      weight: fc.integer({ min: 0, max: 256 }),
      limit: fc.integer({ min: 1, max: 1_000_000 }),
      role: fc.constantFrom("primary" as const, "backup" as const),
    },
    { requiredKeys: ["id", "address"] },
  ),
  { maxLength: 6, selector: ({ address, id }) => `${id} ${address.host} ${address.port}` },
);

interface Steering {
  readonly which: number;
  readonly admin: Admin | undefined;
  readonly weight: number | undefined;
  readonly at: number;
  readonly by: string;
}

const steerings = fc.array(
  fc.record({
    which: fc.nat(5),
    admin: fc.constantFrom<Admin | undefined>("enabled", "draining", "disabled", undefined),
    weight: fc.option(fc.integer({ min: 0, max: 256 }), { nil: undefined }),
    at: fc.integer({ min: 0, max: 4_000_000_000_000 }),
    by: fc.constantFrom("10.0.0.1", "nobody\u0007", "b".repeat(600)),
  }),
  { maxLength: 8 },
);

const poolOf = (listed: ReadonlyArray<Instance>, steered: ReadonlyArray<Steering>): Pool.Pool => {
  let [pool] = Pool.discovered(Pool.make(roundRobin, { rise: 1, fall: 1 }), listed);
  for (const { admin, at, by, weight, which } of steered) {
    const id = listed[which % Math.max(1, listed.length)]?.id;
    if (id === undefined) continue;
    [pool] =
      admin === undefined
        ? Pool.weighed(pool, id, weight, { at, by })
        : Pool.steered(pool, id, admin, { at, by });
  }
  return pool;
};

/** Of a pool: `poolOf` makes it. Not mapped to one, which is long to print. */
const pools = fc.tuple(instances, steerings);

/** Who is listed with what, and what is chosen: all that outlives a process. */
const essence = (pool: Pool.Pool) =>
  Pool.backends(pool).map(({ address, admin, chosenWeight, id, limit, name, role, steered, weight }) => ({
    ...{ id, name, address, admin, limit, role, weight },
    // Of one that is enabled again nothing is kept.
    steeredAt: admin === "enabled" ? undefined : steered?.at,
    weighedAt: chosenWeight?.at,
  }));

describe("what outlives a process", () => {
  it("is, after it was written and read, what it was", () => {
    fc.assert(
      fc.property(pools, fc.integer({ min: 1, max: 200 }), ([listed, steered], pieceLength) => {
        const pool = poolOf(listed, steered);
        const state = read(textOf(pool), pieceLength);
        if ("wrong" in state) return assert.fail(state.wrong);
        assert.deepStrictEqual(
          { source: state.source, written: state.written },
          { source: about.source, written: about.written },
        );
        const fresh = Pool.restored(Pool.make(roundRobin, { rise: 1, fall: 1 }), state.choices);
        const [again] = Pool.discovered(fresh, state.instances);
        assert.deepStrictEqual(essence(again), essence(pool));
        assert.deepStrictEqual([...again.chosen.keys()], [...pool.chosen.keys()], "the oldest is out first");
      }),
    );
  });

  it("is seen to be broken wherever it is cut off", () => {
    fc.assert(
      fc.property(pools, fc.nat(), ([listed, steered], cut) => {
        const text = textOf(poolOf(listed, steered));
        // Without the line break at its end it is all there.
        assert.property(read(text.subarray(0, cut % (text.length - 1))), "wrong");
      }),
    );
  });

  it("is read without harm whatever became of it", () => {
    const damage = fc.array(fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 })), {
      minLength: 1,
      maxLength: 4,
    });
    fc.assert(
      fc.property(pools, damage, ([listed, steered], changes) => {
        const text = textOf(poolOf(listed, steered));
        for (const [at, byte] of changes) text[at % text.length] = byte;
        const state = read(text);
        if ("wrong" in state) {
          assert.isNotEmpty(state.wrong);
          return;
        }
        // What can be read can be served: the pool has nothing in it that it would refuse.
        const fresh = Pool.restored(Pool.make(roundRobin, { rise: 1, fall: 1 }), state.choices);
        assert.deepStrictEqual(Pool.discovered(fresh, state.instances)[1].invalid, []);
      }),
      { numRuns: 1_000 },
    );
  });

  const header = {
    format: "zeitwork-load-balancer state",
    version: 1,
    written: "2026-01-01T00:00:00Z",
    source: "s",
  };
  const one = { ...header, backends: 1, choices: 0 };
  const choice = { kind: "choice", id: "a", address: "10.0.0.1:80", admin: "draining" };
  it.each([
    ["entry 1: format", [{}]],
    ["entry 1: version is 2, not 1", [{ ...one, version: 2 }]],
    ["entry 1: written", [{ ...one, written: "yesterday" }]],
    ["entry 2: kind", [one, {}]],
    ["entry 2: address: port 0", [one, { kind: "backend", id: "a", address: "10.0.0.1:0" }]],
    ["entry 2: address: ", [one, { kind: "backend", id: "a", address: "web:80" }]],
    ["entry 2: id: ", [one, { kind: "backend", id: 7, address: "10.0.0.1:80" }]],
    ["entry 2: weight: ", [one, { kind: "backend", id: "a", address: "10.0.0.1:80", weight: -1 }]],
    [
      "entry 2: max_connections: ",
      [one, { kind: "backend", id: "a", address: "10.0.0.1:80", max_connections: 0 }],
    ],
    ["entry 2: it is longer than", [one, { kind: "x".repeat(20_000) }]],
    ["entry 2: admin is none of enabled, draining, disabled", [one, { ...choice, admin: "toString" }]],
    ["entry 2: steered: since is no time", [one, { ...choice, steered: { by: "x" } }]],
    [
      "entry 2: weight: weight is not",
      [one, { ...choice, weight: { by: "x", since: "2026-01-01", weight: 300 } }],
    ],
    ["entry 1 says 1 backends and 0 choices, and 0 and 1 follow", [one, choice]],
    ["it has no entry", []],
  ])("names what is wrong: %s", (expected, entries) => {
    const state = read(Buffer.from(JSON.stringify(entries)));
    assert.include("wrong" in state ? state.wrong : "", expected);
  });
});
