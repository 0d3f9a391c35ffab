import { FastCheck as fc } from "effect";
import { assert, describe, it } from "vitest";
import * as Load from "../../src/balancing/Load.js";
import { random } from "../../src/balancing/Random.js";
import { changed, chooser, chosen, type Group, groupOf, openIn } from "../support/Members.js";

const start = chooser(random);

const hostOf = (n: number): string => `10.${(n >> 16) & 255}.${(n >> 8) & 255}.${n & 255}`;

/** How often each slot is chosen when so many connections come; those that stay count. */
const taken = (group: Group, times: number, stay = false): ReadonlyArray<number> => {
  let now = group;
  let next = start;
  const counts = new Array<number>(group.members.slots.size).fill(0);
  for (let n = 0; n < times; n++) {
    const [member, after] = chosen(next, now, hostOf(n));
    const slot = member?.slot ?? assert.fail("nothing was chosen");
    counts[slot] = (counts[slot] ?? 0) + 1;
    if (stay) now = changed(now, slot, { connections: Load.connections(now.load, slot) + 1 });
    next = after;
  }
  return counts;
};

const names = (size: number): ReadonlyArray<string> => Array.from({ length: size }, (_, i) => `b${i}`);

const weighted = (weights: ReadonlyArray<number>): Group =>
  weights.reduce((group, weight, slot) => changed(group, slot, { weight }), groupOf(names(weights.length)));

describe("random", () => {
  it("chooses nothing where nothing is open, and the only one where one is", () => {
    assert.isUndefined(chosen(start, groupOf([]))[0]);
    const group = changed(groupOf(["a", "b", "c"]), 1, { connections: 9 });
    const one = [0, 2].reduce((some, slot) => changed(some, slot, { eligible: false }), group);
    assert.deepStrictEqual(taken(one, 50), [0, 50, 0]);
  });

  it("always takes the less loaded of two, so that of all the most loaded gets nothing", () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.constantFrom(1, 1, 3, 256, 0.1), fc.nat(50), fc.boolean()), {
          minLength: 2,
          maxLength: 100,
          size: "max",
        }),
        (some) => {
          const group = some.reduce(
            (all, [, connections, eligible], slot) => changed(all, slot, { connections, eligible }),
            weighted(some.map(([weight]) => weight)),
          );
          const open = openIn(group);
          fc.pre(open.length >= 2);
          const ratios = open.map(({ slot }) => Load.ratio(group.load, slot));
          const most = Math.max(...ratios);
          fc.pre(ratios.filter((ratio) => ratio === most).length === 1);
          const counts = taken(group, 100);
          open.forEach(({ slot }, i) => {
            if (ratios[i] === most) assert.strictEqual(counts[slot], 0);
          });
          some.forEach(([, , eligible], slot) => {
            if (!eligible) assert.strictEqual(counts[slot], 0);
          });
        },
      ),
      { numRuns: 60 },
    );
  });

  it("spreads idle members as their weights say", () => {
    // Without connections all tie, and the first that is drawn is taken: five standard deviations of a binomial count.
    const weights = [1, 1, 1, 4, 10, 0.5];
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    const times = 40_000;
    taken(weighted(weights), times).forEach((count, slot) => {
      const mean = (times * (weights[slot] ?? 0)) / total;
      assert.approximately(count, mean, 5 * Math.sqrt(mean));
    });
  });

  it("keeps the fullest of a hundred within a few connections of the mean", () => {
    // By chance alone the fullest of a hundred has about 27 more than the mean of 100; of two choices about 3.
    const counts = taken(groupOf(names(100)), 10_000, true);
    assert.isAtMost(Math.max(...counts), 106);
  });

  it("draws otherwise for other clients, so that two balancers do not go in step", () => {
    const group = groupOf(names(50));
    const draws = (from: number): ReadonlyArray<number | undefined> => {
      let next = start;
      return Array.from({ length: 40 }, (_, n) => {
        const [member, after] = chosen(next, group, hostOf(from + n));
        next = after;
        return member?.slot;
      });
    };
    const [here, there] = [draws(0), draws(1_000)];
    assert.isBelow(here.filter((slot, n) => slot === there[n]).length, 10);
    assert.deepStrictEqual(draws(0), here, "and the same for the same");
  });
});
