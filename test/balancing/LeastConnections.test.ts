import { FastCheck as fc } from "effect";
import { assert, describe, it } from "vitest";
import { leastConnections } from "../../src/balancing/LeastConnections.js";
import * as Load from "../../src/balancing/Load.js";
import * as Members from "../../src/balancing/Members.js";
import { changed, chooser, chosen, type Group, groupOf, openIn } from "../support/Members.js";

const start = chooser(leastConnections);

const connectionsIn = ({ load }: Group, slot: number): number => Load.connections(load, slot);

describe("least-connections", () => {
  it("always takes one of those with the fewest connections, whatever opens, ends, fails and recovers", () => {
    const step = fc.record({ ends: fc.array(fc.nat(150)), flips: fc.array(fc.nat(150), { maxLength: 2 }) });
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 140 }),
        fc.array(step, { minLength: 30, maxLength: 200, size: "max" }),
        (size, steps) => {
          let group = groupOf(Array.from({ length: size }, (_, i) => `b${i}`));
          let next = start;
          for (const { ends, flips } of steps) {
            for (const slot of ends) {
              const connections = connectionsIn(group, slot);
              if (connections > 0) group = changed(group, slot, { connections: connections - 1 });
            }
            for (const slot of flips) {
              const some = Members.get(group.members, slot);
              if (some !== undefined) group = changed(group, slot, { eligible: !some.eligible });
            }
            const open = openIn(group);
            const [member, after] = chosen(next, group);
            if (open.length === 0 || member === undefined) {
              assert.strictEqual(open.length, 0);
              assert.isUndefined(member);
              continue;
            }
            const connections = connectionsIn(group, member.slot);
            assert.strictEqual(connections, Math.min(...open.map(({ slot }) => connectionsIn(group, slot))));
            group = changed(group, member.slot, { connections: connections + 1 });
            next = after;
          }
        },
      ),
    );
  });

  it("takes those that tie in turn", () => {
    // Every connection ends before the next one starts, so all tie all the time.
    const group = groupOf(["a", "b", "c"]);
    let next = start;
    const keys: Array<string | undefined> = [];
    for (let i = 0; i < 6; i++) {
      const [member, after] = chosen(next, group);
      keys.push(member?.key);
      next = after;
    }
    assert.deepStrictEqual(keys, ["a", "b", "c", "a", "b", "c"]);
  });

  it("fills up the idle one before the busy ones get more, up to its limit", () => {
    let group = groupOf(["a", "b", "c"]);
    for (const slot of [0, 2]) group = changed(group, slot, { connections: 4 });
    group = changed(group, 1, { limit: 3 });
    const keys: Array<string | undefined> = [];
    let next = start;
    for (let i = 0; i < 5; i++) {
      const [member, after] = chosen(next, group);
      if (member === undefined) return assert.fail();
      keys.push(member.key);
      group = changed(group, member.slot, { connections: connectionsIn(group, member.slot) + 1 });
      next = after;
    }
    assert.deepStrictEqual(keys, ["b", "b", "b", "c", "a"]);
  });

  it("with weights takes one of those with the fewest connections over weight, ties in turn", () => {
    const weight = fc.constantFrom(1, 1, 2, 3, 7, 256, 0.3);
    const size = 140;
    fc.assert(
      fc.property(
        fc.array(weight, { minLength: size, maxLength: size, size: "max" }),
        fc.array(fc.tuple(fc.array(fc.nat(size - 1)), fc.option(fc.tuple(fc.nat(size - 1), weight))), {
          minLength: 50,
          maxLength: 300,
          size: "max",
        }),
        (weights, steps) => {
          let group = weights.reduce(
            (some, weight, slot) => changed(some, slot, { weight }),
            groupOf(weights.map((_, i) => `b${i}`)),
          );
          const ratioIn = (slot: number): number =>
            connectionsIn(group, slot) / (Members.get(group.members, slot)?.weight ?? Number.NaN);
          let next = start;
          let last = -1;
          for (const [ends, steered] of steps) {
            for (const slot of ends) {
              const connections = connectionsIn(group, slot);
              if (connections > 0) group = changed(group, slot, { connections: connections - 1 });
            }
            if (steered !== null) group = changed(group, steered[0], { weight: steered[1] });
            const slots = openIn(group).map(({ slot }) => slot);
            const least = Math.min(...slots.map(ratioIn));
            const tie = slots.filter((slot) => ratioIn(slot) === least);
            const [member, after] = chosen(next, group);
            assert.strictEqual(member?.slot, tie.find((slot) => slot > last) ?? tie[0]);
            last = member?.slot ?? last;
            group = changed(group, last, { connections: connectionsIn(group, last) + 1 });
            next = after;
          }
        },
      ),
    );
  });

  it("fills up three members of the weights 4, 2 and 1 in that proportion", () => {
    let group = groupOf(["a", "b", "c"]);
    [4, 2, 1].forEach((weight, slot) => {
      group = changed(group, slot, { weight });
    });
    let next = start;
    for (let i = 0; i < 70; i++) {
      const [member, after] = chosen(next, group);
      const slot = member?.slot ?? assert.fail();
      group = changed(group, slot, { connections: connectionsIn(group, slot) + 1 });
      next = after;
    }
    assert.deepStrictEqual(
      [0, 1, 2].map((slot) => connectionsIn(group, slot)),
      [40, 20, 10],
    );
  });
});
