import { assert, describe, it } from "@effect/vitest";
import { FastCheck as fc } from "effect";
import type { Family } from "../../src/metrics/Catalog.js";
import * as Series from "../../src/metrics/Series.js";

const family = (type: Family["type"], bounds: ReadonlyArray<number>): Family => ({
  name: "lb_values",
  type,
  help: "Values.",
  labels: ["kind"],
  bounds,
});

describe("a histogram", () => {
  it("has in each bucket what is at most its bound, and everything in the last", () => {
    fc.assert(
      fc.property(
        fc.uniqueArray(fc.integer({ min: -50, max: 50 }), { minLength: 1, maxLength: 8 }),
        fc.array(fc.integer({ min: -60, max: 60 })),
        (unordered, observed) => {
          const bounds = unordered.sort((a, b) => a - b);
          const histogram = new Series.Histogram(family("histogram", bounds), {}, undefined);
          for (const value of observed) histogram.observe(value);
          assert.deepStrictEqual(histogram.series.value, {
            buckets: [...bounds, Number.POSITIVE_INFINITY].map((bound): readonly [number, number] => [
              bound,
              observed.filter((value) => value <= bound).length,
            ]),
            sum: observed.reduce((sum, value) => sum + value, 0),
            count: observed.length,
          });
        },
      ),
    );
  });
});

describe("updates", () => {
  it("go elsewhere too where that is asked for, one by one, with the labels of their series", () => {
    const forwarded: Array<string> = [];
    const forward: Series.Forward =
      ({ name }, { kind }) =>
      (amount) =>
        forwarded.push(`${name} ${kind} ${amount}`);
    new Series.Counter(family("counter", []), { kind: "a" }, forward).add(2);
    new Series.Histogram(family("histogram", [1]), { kind: "b" }, forward).observe(7);
    const counters = new Series.Counters(
      new Series.CounterFamily<string>(family("counter", []), ["c"], (kind) => ({ kind })),
      {},
      forward,
    );
    counters.increment("c");
    counters.increment("d");
    counters.increment("d");
    assert.deepStrictEqual(forwarded, [
      "lb_values a 2",
      "lb_values b 7",
      "lb_values c 1",
      "lb_values d 1",
      "lb_values d 1",
    ]);
    assert.deepStrictEqual(
      [...counters.byValue],
      [
        ["c", 1],
        ["d", 2],
      ],
    );
  });
});
