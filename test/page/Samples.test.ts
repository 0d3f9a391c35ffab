import { FastCheck as fc } from "effect";
import { describe, expect, it } from "vitest";
import * as Samples from "../../src/page/Samples.js";

const at = (seconds: number, total: number, more: Partial<Samples.Sample> = {}): Samples.Sample => ({
  at: seconds * 1000,
  open: 0,
  total,
  received: 0,
  sent: 0,
  ...more,
});

describe("rates", () => {
  it("are differences by the seconds between", () => {
    expect(Samples.between(at(0, 10), at(2, 20, { received: 500, sent: 4000 }))).toEqual({
      opened: 5,
      received: 250,
      sent: 2000,
    });
  });

  it("are not known over a gap, nor over a restart", () => {
    expect(Samples.between(at(0, 10), at(11, 20))).toBeUndefined();
    expect(Samples.between(at(0, 10), at(2, 3))).toBeUndefined();
    expect(Samples.between(at(2, 10), at(2, 10))).toBeUndefined();
  });

  it("add up to what was counted, whatever the totals were", () => {
    fc.assert(
      fc.property(
        fc.array(fc.record({ seconds: fc.integer({ min: 2, max: 9 }), more: fc.nat(1000) }), {
          minLength: 2,
          maxLength: 30,
        }),
        (steps) => {
          let now = at(1000, 0);
          const samples = steps.map(({ more, seconds }) => {
            now = at(now.at / 1000 + seconds, now.total + more);
            return now;
          });
          const { opened, at: times } = Samples.columns(samples);
          const sum = opened.reduce<number>(
            (all, rate, index) => all + (rate ?? 0) * ((times[index] ?? 0) - (times[index - 1] ?? 0)),
            0,
          );
          expect(sum).toBeCloseTo((samples.at(-1)?.total ?? 0) - (samples[0]?.total ?? 0), 6);
          expect(opened[0]).toBeNull();
        },
      ),
    );
  });

  it("of this moment look back five seconds and no farther", () => {
    const samples = [at(0, 0), at(2, 1000), at(4, 1010), at(6, 1020)];
    expect(Samples.current(samples, at(7, 1025))?.opened).toBe(5);
    expect(Samples.current([], at(7, 1025))).toBeUndefined();
  });
});

describe("samples", () => {
  it("are two seconds apart, in order, and five minutes long, however many statuses come", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: -1000, max: 40_000 }), { maxLength: 200 }), (steps) => {
        let now = 0;
        let samples: ReadonlyArray<Samples.Sample> = [];
        for (const step of steps) {
          now += step;
          samples = Samples.append(samples, at(now / 1000, 0));
        }
        samples.forEach((each, index) => {
          const earlier = samples[index - 1];
          if (earlier !== undefined) expect(each.at - earlier.at).toBeGreaterThanOrEqual(1900);
        });
        expect((samples.at(-1)?.at ?? 0) - (samples[0]?.at ?? 0)).toBeLessThanOrEqual(300_000);
      }),
    );
  });

  it("of a history take the place of those gathered since it began, and leave those before", () => {
    const merged = Samples.merge([at(0, 1), at(2, 2), at(4, 3)], [at(3, 7), at(5, 8)]);
    expect(merged.map(({ total }) => total)).toEqual([1, 2, 7, 8]);
    expect(Samples.merge([at(0, 1)], []).map(({ total }) => total)).toEqual([1]);
  });
});
