import { FastCheck as fc } from "effect";
import { assert, describe, it } from "vitest";
import * as Roster from "../../src/balancing/Roster.js";
import { rosterOf } from "../support/Candidates.js";

type Event =
  | { readonly _tag: "Insert"; readonly eligible: boolean; readonly connections: number }
  | {
      readonly _tag: "Replace";
      readonly slot: number;
      readonly eligible: boolean;
      readonly connections: number;
    }
  | { readonly _tag: "Remove"; readonly slot: number };

// The model: an array indexed by slot, searched from one end to the other.
type Model = ReadonlyArray<Roster.Candidate | undefined>;

const ring = (model: Model, after: number): ReadonlyArray<Roster.Candidate> =>
  [...model.slice(after + 1), ...model.slice(0, after + 1)].filter(
    (candidate): candidate is Roster.Candidate => candidate?.eligible === true,
  );

const leastOf = (model: Model): number => Math.min(...ring(model, -1).map(({ connections }) => connections));

const agree = (roster: Roster.Roster<Roster.Candidate>, model: Model, after: number): void => {
  const behind = ring(model, after);
  assert.strictEqual(Roster.eligibleCount(roster), behind.length);
  assert.strictEqual(Roster.nextEligible(roster, after), behind[0]);
  const least = leastOf(model);
  assert.strictEqual(
    Roster.nextLeastLoaded(roster, after),
    behind.find(({ connections }) => connections === least),
  );
};

// How many slots are taken before the random events: about the places where the tree grows in height.
const sizes = [0, 1, 14, 16, 17, 100, 254, 256, 257, 1000, 4094, 4096, 4097];

const event = (slots: number): fc.Arbitrary<Event> => {
  const slot = fc.integer({ min: -1, max: slots + 20 });
  const values = { eligible: fc.boolean(), connections: fc.nat(3) };
  return fc.oneof(
    fc.record({ _tag: fc.constant("Insert" as const), ...values }),
    fc.record({ _tag: fc.constant("Replace" as const), slot, ...values }),
    fc.record({ _tag: fc.constant("Remove" as const), slot }),
  );
};

describe("Roster", () => {
  it.each(sizes)("does what an array of slots does, from %i candidates on", (size) => {
    const prepared = rosterOf(Array.from({ length: size }, (_, i) => `b${i}`));
    fc.assert(
      fc.property(
        fc.array(fc.tuple(event(size), fc.integer({ min: -1, max: size + 20 })), {
          maxLength: 60,
          size: "max",
        }),
        (steps) => {
          let roster = prepared;
          let model: Array<Roster.Candidate | undefined> = Roster.toArray(prepared).slice();
          let made = size;
          for (const [step, query] of steps) {
            const before = roster;
            const wasEligible = ring(model, -1)
              .map(({ key }) => key)
              .join();
            model = model.slice();
            if (step._tag === "Insert") {
              roster = Roster.insert(roster, (slot) => {
                assert.isUndefined(model[slot], "a taken slot was given out");
                // A vacant slot is used before the roster grows.
                if (slot >= model.length) assert.notInclude([...model], undefined);
                const value = {
                  slot,
                  key: `b${made++}`,
                  eligible: step.eligible,
                  connections: step.connections,
                };
                model[slot] = value;
                return value;
              });
            } else if (step._tag === "Replace") {
              const old = model[step.slot];
              const value = {
                slot: step.slot,
                key: old?.key ?? "nobody",
                eligible: step.eligible,
                connections: step.connections,
              };
              roster = Roster.replace(roster, value);
              if (old !== undefined) model[step.slot] = value;
            } else {
              roster = Roster.remove(roster, step.slot);
              if (model[step.slot] !== undefined) model[step.slot] = undefined;
            }
            const nowEligible = ring(model, -1)
              .map(({ key }) => key)
              .join();
            assert.strictEqual(roster.eligibility !== before.eligibility, wasEligible !== nowEligible);
            agree(roster, model, Math.min(query, model.length - 1));
          }
          assert.deepStrictEqual(
            Roster.toArray(roster),
            model.filter((candidate) => candidate !== undefined),
          );
          assert.strictEqual(roster.size, model.filter((candidate) => candidate !== undefined).length);
          for (let slot = -1; slot <= model.length + 1; slot++) {
            assert.strictEqual(Roster.get(roster, slot), model[slot]);
          }
          // What was prepared is as it was: it is a value.
          assert.strictEqual(prepared.size, size);
          assert.strictEqual(Roster.eligibleCount(prepared), size);
        },
      ),
      { numRuns: size > 300 ? 15 : 100 },
    );
  });

  it("finds the one eligible candidate among thousands from every slot", () => {
    let roster = rosterOf(Array.from({ length: 5000 }, (_, i) => `b${i}`));
    for (const candidate of Roster.toArray(roster)) {
      if (candidate.slot !== 4097) roster = Roster.replace(roster, { ...candidate, eligible: false });
    }
    for (let after = -1; after < 5000; after++) {
      assert.strictEqual(Roster.nextEligible(roster, after)?.slot, 4097);
      assert.strictEqual(Roster.nextLeastLoaded(roster, after)?.slot, 4097);
    }
  });

  it("has nothing to find when it is empty", () => {
    assert.isUndefined(Roster.nextEligible(Roster.empty, -1));
    assert.isUndefined(Roster.nextLeastLoaded(Roster.empty, 7));
    assert.isUndefined(Roster.get(Roster.empty, 0));
    assert.deepStrictEqual(Roster.toArray(Roster.empty), []);
  });
});
