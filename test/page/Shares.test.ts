import { FastCheck as fc } from "effect";
import { describe, expect, it } from "vitest";
import * as Shares from "../../src/page/Shares.js";

const totals = (seconds: number, by: Readonly<Record<string, number>>): Shares.Totals => ({
  at: seconds * 1000,
  by: new Map(Object.entries(by)),
});

describe("shares of new connections", () => {
  it("are of what came within the window, a backend that is new included", () => {
    const now = totals(10, { old: 130, new: 10 });
    expect(Shares.shares([totals(0, { old: 100, gone: 50 })], now)).toEqual(
      new Map([
        ["old", 0.75],
        ["new", 0.25],
      ]),
    );
  });

  it("are nobody's while nothing comes", () => {
    expect(Shares.shares([totals(0, { a: 5 })], totals(2, { a: 5 })).size).toBe(0);
    expect(Shares.shares([], totals(2, { a: 5 })).size).toBe(0);
  });

  it("add up to one", () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.tuple(fc.nat(), fc.nat()), { minKeys: 1 }), (all) => {
        const of = (pick: (pair: readonly [number, number]) => number) =>
          Object.fromEntries(Object.entries(all).map(([key, pair]) => [key, pick(pair)]));
        const parts = Shares.shares(
          [
            totals(
              0,
              of(([had]) => had),
            ),
          ],
          totals(
            2,
            of(([had, more]) => had + more),
          ),
        );
        const sum = [...parts.values()].reduce((left, right) => left + right, 0);
        const some = Object.values(all).some(([, more]) => more > 0);
        expect(sum).toBeCloseTo(some ? 1 : 0, 9);
      }),
    );
  });

  it("forget what is older than a minute", () => {
    let all: ReadonlyArray<Shares.Totals> = [];
    for (let second = 0; second <= 100; second++) all = Shares.append(all, totals(second, { a: second }));
    expect(all[0]?.at).toBe(40_000);
    expect(all).toHaveLength(31);
  });
});
