import { FastCheck as fc } from "effect";
import { describe, expect, it } from "vitest";
import { pairedRatios, quantile, relativeWidth, rotated, spread } from "../bench/Statistics.js";

const some = fc.array(fc.double({ min: 0, max: 1e9, noNaN: true }), { minLength: 1 });

describe("statistics", () => {
  it("finds the middle, and the range of the middle half", () => {
    expect(spread([5, 1, 4, 2, 3])).toEqual({ low: 2, median: 3, high: 4 });
    expect(spread([4, 1]).median).toBe(2.5);
    expect(relativeWidth({ low: 9, median: 10, high: 11 })).toBeCloseTo(0.2);
    expect(quantile([], 0.5)).toBeNaN();
  });

  it("orders low, median and high, within the values", () => {
    fc.assert(
      fc.property(some, (values) => {
        const { high, low, median } = spread(values);
        return Math.min(...values) <= low && low <= median && median <= high && high <= Math.max(...values);
      }),
    );
  });

  it("pairs a round only with the same round", () => {
    expect(pairedRatios([2, undefined, 9, 8], [1, 5, undefined, 4])).toEqual([2, 2]);
    expect(pairedRatios([1, 1], [0, -1])).toEqual([]);
  });

  it("lets each take part once in every round, and each come first in some round", () => {
    fc.assert(
      fc.property(fc.uniqueArray(fc.integer(), { minLength: 1, maxLength: 8 }), (items) => {
        const orders = items.map((_, round) => rotated(items, round));
        expect(orders.every((order) => new Set(order).size === items.length)).toBe(true);
        expect(new Set(orders.map(([first]) => first)).size).toBe(items.length);
      }),
    );
  });
});
