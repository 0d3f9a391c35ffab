import { FastCheck as fc } from "effect";
import { assert, describe, it } from "vitest";
import type { Algorithm } from "../../src/balancing/Algorithm.js";
import { type Candidate, get, insert, type Roster, remove, toArray } from "../../src/balancing/Roster.js";
import { roundRobin } from "../../src/balancing/RoundRobin.js";
import { changed, rosterOf } from "../support/Candidates.js";

const client = { host: "10.9.8.7" };

const choose = (
  algorithm: Algorithm,
  roster: Roster<Candidate>,
  times: number,
): readonly [Algorithm, string[]] => {
  const keys: string[] = [];
  let next = algorithm;
  for (let i = 0; i < times; i++) {
    const choice = next.choose(roster, client);
    const chosen = choice === undefined ? undefined : get(roster, choice.slot);
    if (choice === undefined || chosen === undefined) return assert.fail("nothing was chosen");
    keys.push(chosen.key);
    next = choice.next;
  }
  return [next, keys];
};

const counted = (keys: ReadonlyArray<string>): Record<string, number> => {
  const counts: Record<string, number> = {};
  for (const key of keys) counts[key] = (counts[key] ?? 0) + 1;
  return counts;
};

const keysOf = (n: number): ReadonlyArray<string> => Array.from({ length: n }, (_, i) => `b${i}`);

describe("round-robin", () => {
  it("gives 300 connections on 3 backends 100 each", () => {
    const [, keys] = choose(roundRobin, rosterOf(["a", "b", "c"]), 300);
    assert.deepStrictEqual(counted(keys), { a: 100, b: 100, c: 100 });
  });

  it("is exact over the eligible ones, from any point of the rotation on", () => {
    const eligible = fc
      .array(fc.boolean(), { minLength: 1, maxLength: 40, size: "max" })
      .filter((some) => some.includes(true));
    fc.assert(
      fc.property(eligible, fc.nat(100), fc.integer({ min: 1, max: 5 }), (flags, earlier, k) => {
        const all = rosterOf(keysOf(flags.length));
        const roster = toArray(all).reduce(
          (some, candidate) => changed(some, candidate, { eligible: flags[candidate.slot] === true }),
          all,
        );
        const up = toArray(roster).filter((candidate) => candidate.eligible);
        const [algorithm] = choose(roundRobin, all, earlier);
        const [, keys] = choose(algorithm, roster, k * up.length);
        assert.deepStrictEqual(counted(keys), Object.fromEntries(up.map(({ key }) => [key, k])));
      }),
    );
  });

  it("keeps everybody's turn when backends join, leave, fail and recover in between", () => {
    // Between two choices of a backend that stays eligible every other one that stays gets exactly one turn.
    const stays = ["s0", "s1", "s2", "s3"];
    const flapping = fc.array(fc.array(fc.tuple(fc.nat(5), fc.constantFrom("join", "leave", "flip"))), {
      minLength: 40,
      maxLength: 80,
    });
    fc.assert(
      fc.property(flapping, (rounds) => {
        let roster = rosterOf(["s0", "x0", "s1", "x1", "s2", "x2", "s3"]);
        let algorithm: Algorithm = roundRobin;
        const turns: string[] = [];
        let joined = 3;
        for (const round of rounds) {
          for (const [which, what] of round) {
            const others = toArray(roster).filter(({ key }) => !stays.includes(key));
            const other = others[which % Math.max(1, others.length)];
            if (what === "join") {
              roster = insert(roster, (slot) => ({
                slot,
                key: `x${joined++}`,
                eligible: true,
                connections: 0,
              }));
            } else if (other !== undefined) {
              roster =
                what === "leave"
                  ? remove(roster, other.slot)
                  : changed(roster, other, { eligible: !other.eligible });
            }
          }
          const [next, keys] = choose(algorithm, roster, 3);
          algorithm = next;
          turns.push(...keys.filter((key) => stays.includes(key)));
        }
        turns.forEach((key, i) => {
          const following = turns.slice(i + 1, i + stays.length);
          assert.notInclude(following, key, "a turn came twice before the others had theirs");
        });
      }),
    );
  });

  it("chooses the only backend again and again, and nothing where there is none", () => {
    assert.deepStrictEqual(choose(roundRobin, rosterOf(["a"]), 3)[1], ["a", "a", "a"]);
    assert.isUndefined(roundRobin.choose(rosterOf([]), client));
    const down = toArray(rosterOf(["a", "b"])).reduce(
      (some, candidate) => changed(some, candidate, { eligible: false }),
      rosterOf(["a", "b"]),
    );
    assert.isUndefined(roundRobin.choose(down, client));
  });
});
