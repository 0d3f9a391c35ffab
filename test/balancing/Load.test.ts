import { FastCheck as fc } from "effect";
import { assert, describe, it } from "vitest";
import * as Load from "../../src/balancing/Load.js";

interface Entry {
  readonly connections: number;
  readonly isOpen: boolean;
  readonly weight: number;
}

// The model: an array indexed by slot, searched from one end to the other.
type Model = ReadonlyArray<Entry | undefined>;

const openBehind = (model: Model, after: number): ReadonlyArray<readonly [number, number]> => {
  const all = model.flatMap((entry, slot) =>
    entry?.isOpen ? [[slot, entry.connections / entry.weight] as const] : [],
  );
  return [...all.filter(([slot]) => slot > after), ...all.filter(([slot]) => slot <= after)];
};

const agree = (load: Load.Load, model: Model, after: number): void => {
  const behind = openBehind(model, after);
  const least = Math.min(...behind.map(([, ratio]) => ratio));
  assert.strictEqual(load.open, behind.length);
  assert.strictEqual(load.least, least);
  assert.strictEqual(Load.nextOpen(load, after), behind[0]?.[0]);
  assert.strictEqual(Load.nextLeastLoaded(load, after), behind.find(([, ratio]) => ratio === least)?.[0]);
  const classes = new Map<number, Array<number>>();
  model.forEach((entry, slot) => {
    if (entry?.isOpen) classes.set(entry.weight, [...(classes.get(entry.weight) ?? []), slot]);
  });
  assert.deepStrictEqual(
    load.classes.map(({ open, slots, weight }) => {
      const inSet = model.flatMap((_, slot) => (((slots[slot >> 5] ?? 0) >>> (slot & 31)) & 1 ? [slot] : []));
      assert.strictEqual(inSet.length, open);
      return [weight, inSet] as const;
    }),
    [...classes].sort(([a], [b]) => a - b),
  );
  assert.approximately(
    load.weight,
    model.reduce((sum, entry) => sum + (entry?.isOpen ? entry.weight : 0), 0),
    1e-9,
  );
  assert.strictEqual(load.weightsUpTo.length, load.classes.length);
  load.classes.forEach(({ open, weight }, i) => {
    const before = load.weightsUpTo[i - 1] ?? 0;
    assert.approximately((load.weightsUpTo[i] ?? 0) - before, open * weight, 1e-9);
  });
  assert.strictEqual(load.weightsUpTo.at(-1) ?? 0, load.weight);
};

const loadOf = (model: Model): Load.Load =>
  model.reduce<Load.Load>(
    (load, entry, slot) =>
      entry === undefined ? load : Load.set(load, slot, entry.connections, entry.isOpen, entry.weight),
    Load.empty,
  );

// How many slots have a load before the random changes: about the places where a chunk begins.
const sizes = [0, 1, 62, 63, 64, 65, 127, 128, 129, 1000];

describe("Load", () => {
  it.each(sizes)("finds what a search through an array finds, from %i slots on", (size) => {
    const start: Model = Array.from({ length: size }, (_, slot) => ({
      connections: slot % 3,
      isOpen: slot % 5 !== 0,
      weight: slot % 130 < 65 ? 1 : 2,
    }));
    const weight = fc.constantFrom(1, 1, 1, 2, 6, 0.1);
    const entry = fc.record({ connections: fc.nat(3), isOpen: fc.boolean(), weight });
    const slot = fc.integer({ min: 0, max: size + 70 });
    fc.assert(
      fc.property(fc.array(fc.tuple(slot, entry, slot), { maxLength: 60, size: "max" }), (steps) => {
        const before = loadOf(start);
        let load = before;
        const model = start.slice();
        for (const [at, changed, query] of steps) {
          const same = model[at]?.weight === changed.weight;
          load = Load.set(
            ...([load, at, changed.connections, changed.isOpen] as const),
            ...(same ? [] : [changed.weight]),
          );
          model[at] = changed;
          agree(load, model, query - 1);
          assert.strictEqual(Load.connections(load, at), changed.connections);
          assert.strictEqual(Load.isOpen(load, at), changed.isOpen);
          assert.strictEqual(Load.ratio(load, at), changed.connections / changed.weight);
        }
        // What was there before is as it was: it is a value.
        agree(before, start, -1);
      }),
      { numRuns: size > 300 ? 15 : 100 },
    );
  });

  it("finds the one open member among thousands from every slot", () => {
    let load = Load.empty;
    for (let slot = 0; slot < 5000; slot++) load = Load.set(load, slot, 7, slot === 4097);
    for (let after = -1; after < 5000; after++) {
      assert.strictEqual(Load.nextOpen(load, after), 4097);
      assert.strictEqual(Load.nextLeastLoaded(load, after), 4097);
    }
  });

  it("has nothing to find where nothing is open", () => {
    for (const load of [Load.empty, Load.set(Load.empty, 3, 1, false)]) {
      assert.isUndefined(Load.nextOpen(load, -1));
      assert.isUndefined(Load.nextLeastLoaded(load, 7));
      assert.isFalse(Load.isOpen(load, 3));
      assert.isFalse(Load.isOpen(load, 4000));
    }
    assert.strictEqual(Load.connections(Load.empty, 0), 0);
  });
});
