import { FastCheck as fc } from "effect";
import { assert, describe, it } from "vitest";
import * as Members from "../../src/balancing/Members.js";
import { roundRobin } from "../../src/balancing/RoundRobin.js";
import {
  type Chooser,
  changed,
  chooser,
  chosen,
  type Group,
  groupOf,
  joined,
  left,
  openIn,
} from "../support/Members.js";

const choose = (start: Chooser, group: Group, times: number): readonly [Chooser, string[]] => {
  const keys: string[] = [];
  let next = start;
  for (let i = 0; i < times; i++) {
    const [member, after] = chosen(next, group);
    if (member === undefined) return assert.fail("nothing was chosen");
    keys.push(member.key);
    next = after;
  }
  return [next, keys];
};

const counted = (keys: ReadonlyArray<string>): Record<string, number> => {
  const counts: Record<string, number> = {};
  for (const key of keys) counts[key] = (counts[key] ?? 0) + 1;
  return counts;
};

const keysOf = (n: number): ReadonlyArray<string> => Array.from({ length: n }, (_, i) => `b${i}`);

const start = chooser(roundRobin);

describe("round-robin", () => {
  it("gives 300 connections on 3 members 100 each", () => {
    const [, keys] = choose(start, groupOf(["a", "b", "c"]), 300);
    assert.deepStrictEqual(counted(keys), { a: 100, b: 100, c: 100 });
  });

  it("is exact over the open ones, from any point of the rotation on", () => {
    const eligible = fc
      .array(fc.boolean(), { minLength: 1, maxLength: 100, size: "max" })
      .filter((some) => some.includes(true));
    fc.assert(
      fc.property(eligible, fc.nat(100), fc.integer({ min: 1, max: 5 }), (flags, earlier, k) => {
        const all = groupOf(keysOf(flags.length));
        const group = flags.reduce((some, flag, slot) => changed(some, slot, { eligible: flag }), all);
        const open = openIn(group);
        const [later] = choose(start, all, earlier);
        const [, keys] = choose(later, group, k * open.length);
        assert.deepStrictEqual(counted(keys), Object.fromEntries(open.map(({ key }) => [key, k])));
      }),
    );
  });

  it("keeps everybody's turn when members join, leave, fail and recover in between", () => {
    // Between two choices of a member that stays eligible every other one that stays gets exactly one turn.
    const stays = ["s0", "s1", "s2", "s3"];
    const flapping = fc.array(fc.array(fc.tuple(fc.nat(5), fc.constantFrom("join", "leave", "flip"))), {
      minLength: 40,
      maxLength: 80,
    });
    fc.assert(
      fc.property(flapping, (rounds) => {
        let group = groupOf(["s0", "x0", "s1", "x1", "s2", "x2", "s3"]);
        let next = start;
        const turns: string[] = [];
        let come = 3;
        for (const round of rounds) {
          for (const [which, what] of round) {
            const others = Members.toArray(group.members).filter(({ key }) => !stays.includes(key));
            const other = others[which % Math.max(1, others.length)];
            if (what === "join") group = joined(group, `x${come++}`);
            else if (other !== undefined) {
              group =
                what === "leave"
                  ? left(group, other.slot)
                  : changed(group, other.slot, { eligible: !other.eligible });
            }
          }
          const [after, keys] = choose(next, group, 3);
          next = after;
          turns.push(...keys.filter((key) => stays.includes(key)));
        }
        turns.forEach((key, i) => {
          const following = turns.slice(i + 1, i + stays.length);
          assert.notInclude(following, key, "a turn came twice before the others had theirs");
        });
      }),
    );
  });

  it("passes over a member that is at its limit, and keeps the turn of the others", () => {
    const full = changed(groupOf(["a", "b", "c"]), 1, { limit: 2, connections: 2 });
    const [later, keys] = choose(start, full, 4);
    assert.deepStrictEqual(keys, ["a", "c", "a", "c"]);
    const free = changed(full, 1, { connections: 1 });
    assert.deepStrictEqual(choose(later, free, 3)[1], ["a", "b", "c"]);
  });

  it("chooses the only member again and again, and nothing where there is none", () => {
    assert.deepStrictEqual(choose(start, groupOf(["a"]), 3)[1], ["a", "a", "a"]);
    assert.isUndefined(chosen(start, groupOf([]))[0]);
    const down = [0, 1].reduce((some, slot) => changed(some, slot, { eligible: false }), groupOf(["a", "b"]));
    assert.isUndefined(chosen(start, down)[0]);
  });
});
