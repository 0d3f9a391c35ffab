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

  describe("with weights", () => {
    const weighted = (weights: ReadonlyArray<number>): Group =>
      weights.reduce(
        (some, weight, slot) => changed(some, slot, { weight }),
        groupOf(keysOf(weights.length)),
      );

    // What nginx does, over an array of all.
    const modelled = (weights: ReadonlyArray<number>, times: number): ReadonlyArray<string> => {
      const credits = weights.map(() => 0);
      const total = weights.reduce((sum, weight) => sum + weight, 0);
      return Array.from({ length: times }, () => {
        weights.forEach((weight, i) => {
          credits[i] = (credits[i] ?? 0) + weight;
        });
        const best = credits.indexOf(Math.max(...credits));
        credits[best] = (credits[best] ?? 0) - total;
        return `b${best}`;
      });
    };

    const anyWeights = fc.array(fc.oneof(fc.integer({ min: 1, max: 4 }), fc.integer({ min: 1, max: 256 })), {
      minLength: 1,
      maxLength: 80,
      size: "max",
    });

    it("5, 1, 1 gives a a b a c a a, again and again", () => {
      const names = choose(start, weighted([5, 1, 1]), 14)[1].map((key) => "abc"[Number(key.slice(1))]);
      assert.strictEqual(names.join(" "), "a a b a c a a a a b a c a a");
    });

    it("chooses in the order of nginx, through a whole cycle and into the next", () => {
      fc.assert(
        fc.property(anyWeights, (weights) => {
          const cycle = weights.reduce((sum, weight) => sum + weight, 0);
          const times = Math.min(cycle + 100, 3_000);
          const [, keys] = choose(start, weighted(weights), times);
          assert.deepStrictEqual(keys, [...modelled(weights, times)]);
        }),
      );
    });

    it("gives each its weight in every whole cycle from the start", () => {
      fc.assert(
        fc.property(fc.array(fc.integer({ min: 1, max: 30 }), { minLength: 1, maxLength: 40 }), (weights) => {
          const cycle = weights.reduce((sum, weight) => sum + weight, 0);
          const [, keys] = choose(start, weighted(weights), 3 * cycle);
          for (const from of [0, cycle, 2 * cycle]) {
            assert.deepStrictEqual(
              counted(keys.slice(from, from + cycle)),
              Object.fromEntries(weights.map((weight, i) => [`b${i}`, weight])),
            );
          }
        }),
      );
    });

    it("goes on in proportion after any changes, and lets no open member wait for long", () => {
      const change = fc.tuple(
        fc.nat(30),
        fc.constantFrom("join", "leave", "flip", "full", "weigh"),
        fc.constantFrom(1, 2, 5, 40, 256, 0.3),
        fc.nat(12),
      );
      fc.assert(
        fc.property(anyWeights, fc.array(change, { maxLength: 60, size: "max" }), (weights, changes) => {
          let group = weighted(weights);
          let next = start;
          let come = weights.length;
          for (const [which, what, weight, times] of changes) {
            const all = Members.toArray(group.members);
            const some = all[which % Math.max(1, all.length)];
            if (what === "join" || some === undefined) group = joined(group, `b${come++}`);
            else if (what === "leave") group = left(group, some.slot);
            else if (what === "flip") group = changed(group, some.slot, { eligible: !some.eligible });
            else if (what === "full") group = changed(group, some.slot, { limit: some.limit === 0 ? 9 : 0 });
            else group = changed(group, some.slot, { weight });
            for (let i = 0; i < times; i++) {
              const [member, after] = chosen(next, group);
              if (openIn(group).length === 0) assert.isUndefined(member);
              else if (member === undefined) assert.fail("nothing was chosen");
              next = after;
            }
          }
          const open = openIn(group);
          const total = open.reduce((sum, { weight }) => sum + weight, 0);
          const lightest = Math.min(...open.map(({ weight }) => weight));
          fc.pre(open.length > 0 && total / lightest < 2_000);
          // What is owed from before is at most a round either way, and a member is at most so far off its share.
          const rounds = 12;
          const counts = counted(choose(next, group, Math.ceil(rounds * total))[1]);
          for (const { key, weight } of open) {
            assert.approximately(counts[key] ?? 0, rounds * weight, 4 + weight * 4, `${key} of ${weight}`);
          }
        }),
        { numRuns: 60 },
      );
    });

    it("goes on where it was when all weigh the same again", () => {
      let group = weighted([1, 1, 1]);
      const [later] = choose(start, group, 2);
      group = changed(group, 0, { weight: 9 });
      const [, keys] = choose(later, group, 1);
      assert.deepStrictEqual(keys, ["b0"], "the most credit");
      const [weightless] = choose(later, group, 11);
      group = changed(group, 0, { weight: 1 });
      const [, again] = choose(weightless, group, 30_000);
      assert.deepStrictEqual(counted(again.slice(-3)), { b0: 1, b1: 1, b2: 1 });
    });

    it("forgets weights that nobody has had for long, and of many soon", () => {
      let group = weighted([1, 2, 3]);
      let next = choose(start, group, 10)[0];
      for (let n = 0; n < 500; n++) {
        group = changed(group, 0, { weight: 10 + n });
        next = choose(next, group, 3)[0];
        assert.isBelow(JSON.stringify(next.state).length, 8_000);
      }
      for (const slot of [0, 1, 2]) group = changed(group, slot, { weight: 4 });
      next = choose(next, group, 20_010)[0];
      assert.deepStrictEqual(Object.keys(JSON.parse(JSON.stringify(next.state))), ["last"]);
    });
  });
});
