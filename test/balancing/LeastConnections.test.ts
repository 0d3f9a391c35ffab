import { FastCheck as fc } from "effect";
import { assert, describe, it } from "vitest";
import type { Algorithm } from "../../src/balancing/Algorithm.js";
import { leastConnections } from "../../src/balancing/LeastConnections.js";
import { type Candidate, get, type Roster, toArray } from "../../src/balancing/Roster.js";
import { changed, rosterOf } from "../support/Candidates.js";

const client = { host: "10.9.8.7" };

const chosenBy = (algorithm: Algorithm, roster: Roster<Candidate>): readonly [Candidate, Algorithm] => {
  const choice = algorithm.choose(roster, client);
  const chosen = choice === undefined ? undefined : get(roster, choice.slot);
  return choice === undefined || chosen === undefined
    ? assert.fail("nothing was chosen")
    : [chosen, choice.next];
};

describe("least-connections", () => {
  it("always takes one of those with the fewest connections, whatever opens, ends, fails and recovers", () => {
    const step = fc.record({ ends: fc.array(fc.nat(60)), flips: fc.array(fc.nat(60), { maxLength: 2 }) });
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 50 }),
        fc.array(step, { minLength: 30, maxLength: 200, size: "max" }),
        (size, steps) => {
          let roster = rosterOf(Array.from({ length: size }, (_, i) => `b${i}`));
          let algorithm: Algorithm = leastConnections;
          for (const { ends, flips } of steps) {
            for (const slot of ends) {
              const some = get(roster, slot);
              if (some !== undefined && some.connections > 0) {
                roster = changed(roster, some, { connections: some.connections - 1 });
              }
            }
            for (const slot of flips) {
              const some = get(roster, slot);
              if (some !== undefined) roster = changed(roster, some, { eligible: !some.eligible });
            }
            const eligible = toArray(roster).filter((candidate) => candidate.eligible);
            if (eligible.length === 0) {
              assert.isUndefined(algorithm.choose(roster, client));
              continue;
            }
            const [chosen, next] = chosenBy(algorithm, roster);
            assert.isTrue(chosen.eligible);
            assert.strictEqual(
              chosen.connections,
              Math.min(...eligible.map(({ connections }) => connections)),
            );
            roster = changed(roster, chosen, { connections: chosen.connections + 1 });
            algorithm = next;
          }
        },
      ),
    );
  });

  it("takes those that tie in turn", () => {
    // Every connection ends before the next one starts, so all tie all the time.
    const roster = rosterOf(["a", "b", "c"]);
    let algorithm: Algorithm = leastConnections;
    const keys: string[] = [];
    for (let i = 0; i < 6; i++) {
      const [chosen, next] = chosenBy(algorithm, roster);
      keys.push(chosen.key);
      algorithm = next;
    }
    assert.deepStrictEqual(keys, ["a", "b", "c", "a", "b", "c"]);
  });

  it("fills up the idle one before the busy ones get more", () => {
    let roster = rosterOf(["a", "b", "c"]);
    for (const busy of toArray(roster).filter(({ key }) => key !== "b")) {
      roster = changed(roster, busy, { connections: 4 });
    }
    let algorithm: Algorithm = leastConnections;
    for (let i = 0; i < 4; i++) {
      const [chosen, next] = chosenBy(algorithm, roster);
      assert.strictEqual(chosen.key, "b");
      roster = changed(roster, chosen, { connections: chosen.connections + 1 });
      algorithm = next;
    }
  });
});
