import { FastCheck as fc } from "effect";
import { describe, expect, it } from "vitest";
import * as ThreadRates from "../../src/page/ThreadRates.js";
import { dataThread } from "../support/DataThread.js";

const thread = (name: string, turns: number, cpu_seconds: number | null = null) =>
  dataThread({ name, turns, cpu_seconds });

const moment = (seconds: number, ...threads: ThreadRates.Moment["threads"]): ThreadRates.Moment => ({
  at: seconds * 1000,
  threads,
});

describe("what data threads do in each second", () => {
  it("is what their counts have grown by since the window began", () => {
    const all = [
      moment(10, thread("a", 100, 2), thread("b", 7)),
      moment(12, thread("a", 300, 3), thread("b", 8)),
    ];
    expect(ThreadRates.rates(all)).toEqual(
      new Map([
        ["a", { processor: 0.5, turns: 100 }],
        ["b", { processor: undefined, turns: 0.5 }],
      ]),
    );
  });

  it("is not known of one that is new, of one in the place of another, and of a single moment", () => {
    expect(ThreadRates.rates([])).toEqual(new Map());
    expect(ThreadRates.rates([moment(1, thread("a", 5))])).toEqual(new Map());
    const all = [moment(1, thread("a", 500)), moment(2, thread("a", 5), thread("b", 5))];
    expect(ThreadRates.rates(all)).toEqual(new Map());
  });

  it("is reckoned from a window that slides, and is bounded", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 3_000 }), { minLength: 1 }), (steps) => {
        let at = 0;
        let all: ReadonlyArray<ThreadRates.Moment> = [];
        // Ten turns in each millisecond, whenever one looks.
        for (const step of steps) {
          at += step;
          all = ThreadRates.append(all, { at, threads: [thread("a", 10 * at)] });
          expect(all.every((each) => at - each.at <= ThreadRates.windowMillis)).toBe(true);
          if (all.length > 1) expect(ThreadRates.rates(all).get("a")?.turns).toBeCloseTo(10_000, 6);
        }
      }),
    );
  });
});
