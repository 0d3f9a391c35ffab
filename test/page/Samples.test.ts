import { FastCheck as fc } from "effect";
import { describe, expect, it } from "vitest";
import * as Samples from "../../src/page/Samples.js";

/** Nothing is refused. */
const none = {
  "no-backend": 0,
  "backends-full": 0,
  "connect-failed": 0,
  "at-capacity": 0,
  denied: 0,
  "client-limit": 0,
  "client-rate": 0,
  "proxy-header": 0,
};

const at = (seconds: number, served: number, more: Partial<Samples.Sample> = {}): Samples.Sample => ({
  at: seconds * 1000,
  open: 0,
  served,
  ...none,
  received: 0,
  sent: 0,
  ...more,
});

describe("rates", () => {
  it("are differences by the seconds between", () => {
    expect(
      Samples.between(at(0, 10), at(2, 20, { "no-backend": 8, denied: 6, received: 500, sent: 4000 })),
    ).toEqual({
      ...none,
      served: 5,
      "no-backend": 4,
      denied: 3,
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
            now = at(now.at / 1000 + seconds, now.served + more);
            return now;
          });
          const { served, at: times } = Samples.columns(samples);
          const sum = served.reduce<number>(
            (all, rate, index) => all + (rate ?? 0) * ((times[index] ?? 0) - (times[index - 1] ?? 0)),
            0,
          );
          expect(sum).toBeCloseTo((samples.at(-1)?.served ?? 0) - (samples[0]?.served ?? 0), 6);
          expect(served[0]).toBeNull();
        },
      ),
    );
  });

  it("of this moment look back five seconds and no farther", () => {
    const samples = [at(0, 0), at(2, 1000), at(4, 1010), at(6, 1020)];
    expect(Samples.current(samples, at(7, 1025))?.served).toBe(5);
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
    expect(merged.map(({ served }) => served)).toEqual([1, 2, 7, 8]);
    expect(Samples.merge([at(0, 1)], []).map(({ served }) => served)).toEqual([1]);
  });

  it("tell refusals from what was served, by reason, at the uptime of the balancer", () => {
    const origin = Samples.origin("2026-01-01T00:01:00Z", 60);
    expect(
      Samples.sample(origin, {
        uptime_seconds: 90,
        open: 3,
        total: 100,
        refusals: {
          "no-backend": 5,
          "connect-failed": 2,
          "at-capacity": 4,
          "queue-full": 2,
          "queue-timeout": 1,
          another: 1,
        },
        received: 7,
        sent: 8,
      }),
    ).toEqual({
      at: Date.parse("2026-01-01T00:01:30Z"),
      open: 3,
      served: 85,
      ...none,
      "no-backend": 5,
      "backends-full": 3,
      "connect-failed": 2,
      "at-capacity": 4,
      received: 7,
      sent: 8,
    });
  });
});
