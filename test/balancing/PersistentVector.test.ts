import { FastCheck as fc } from "effect";
import { assert, describe, it } from "vitest";
import * as PersistentVector from "../../src/balancing/PersistentVector.js";

type Event =
  | { readonly _tag: "Insert"; readonly value: number }
  | { readonly _tag: "Set"; readonly slot: number; readonly value: number | undefined };

const filled = (size: number): PersistentVector.PersistentVector<number> => {
  let slots: PersistentVector.PersistentVector<number> = PersistentVector.empty;
  for (let slot = 0; slot < size; slot++) slots = PersistentVector.set(slots, slot, slot);
  return slots;
};

// How many slots are taken before the random events: about the places where a chunk or a block begins.
const sizes = [0, 1, 62, 63, 64, 65, 127, 128, 129, 1000, 4090];

describe("PersistentVector", () => {
  it.each(sizes)("do what an array does, from %i values on", (size) => {
    const slot = fc.integer({ min: 0, max: size + 150 });
    const event: fc.Arbitrary<Event> = fc.oneof(
      fc.record({ _tag: fc.constant("Insert" as const), value: fc.nat() }),
      fc.record({ _tag: fc.constant("Set" as const), slot, value: fc.option(fc.nat(), { nil: undefined }) }),
    );
    const start = filled(size);
    fc.assert(
      fc.property(fc.array(event, { maxLength: 80, size: "max" }), (events) => {
        let slots = start;
        const model: Array<number | undefined> = PersistentVector.toArray(start);
        for (const step of events) {
          const at = step._tag === "Insert" ? PersistentVector.vacant(slots) : step.slot;
          if (step._tag === "Insert") {
            const lowest = model.indexOf(undefined);
            assert.strictEqual(at, lowest === -1 ? model.length : lowest, "the lowest vacant slot");
          }
          slots = PersistentVector.set(slots, at, step.value);
          while (model.length < at) model.push(undefined);
          model[at] = step.value;
          while (model.length > 0 && model.at(-1) === undefined) model.pop();
        }
        const taken = model.filter((value) => value !== undefined);
        assert.deepStrictEqual(PersistentVector.toArray(slots), taken);
        assert.strictEqual(slots.size, taken.length);
        for (let at = -1; at < model.length + 70; at++) {
          assert.strictEqual(PersistentVector.get(slots, at), model[at]);
        }
        // What was there before is as it was: it is a value.
        assert.strictEqual(start.size, size);
        assert.strictEqual(PersistentVector.toArray(start).length, size);
      }),
      { numRuns: size > 1000 ? 15 : 100 },
    );
  });
});
