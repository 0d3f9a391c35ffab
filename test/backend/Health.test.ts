import { FastCheck as fc } from "effect";
import { assert, describe, it } from "vitest";
import { observe, unknown } from "../../src/backend/Health.js";

// The model looks at the whole history: down until the first success, then whatever the last k results agree on.
const believed = (history: ReadonlyArray<boolean>, rise: number, fall: number): boolean => {
  const first = history.indexOf(true);
  if (first === -1) return false;
  let up = true;
  let since = first + 1;
  history.forEach((_, i) => {
    if (i <= first) return;
    const needed = up ? fall : rise;
    const last = history.slice(Math.max(since, i + 1 - needed), i + 1);
    if (last.length === needed && last.every((succeeded) => succeeded !== up)) {
      up = !up;
      since = i + 1;
    }
  });
  return up;
};

describe("Health", () => {
  it("believes what the last rise or fall results in a row say", () => {
    const threshold = fc.integer({ min: 1, max: 5 });
    fc.assert(
      fc.property(
        fc.array(fc.boolean(), { maxLength: 60, size: "max" }),
        threshold,
        threshold,
        (history, rise, fall) => {
          let health = unknown;
          history.forEach((succeeded, i) => {
            health = observe(health, succeeded, { rise, fall });
            assert.strictEqual(health.up, believed(history.slice(0, i + 1), rise, fall));
            assert.isTrue(health.checked);
          });
          assert.strictEqual(health.checked, history.length > 0);
        },
      ),
      { numRuns: 500 },
    );
  });

  it("brings a backend up with its first success, and takes one down after `fall` failures in a row only", () => {
    const thresholds = { rise: 2, fall: 3 };
    const upAfter = (...results: ReadonlyArray<boolean>): boolean =>
      results.reduce((health, succeeded) => observe(health, succeeded, thresholds), unknown).up;
    assert.isFalse(upAfter());
    assert.isTrue(upAfter(true));
    assert.isTrue(upAfter(false, false, true));
    assert.isTrue(upAfter(true, false, false));
    assert.isFalse(upAfter(true, false, false, false));
    assert.isTrue(upAfter(true, false, false, true, false, false));
    assert.isFalse(upAfter(true, false, false, false, true));
    assert.isFalse(upAfter(true, false, false, false, true, false, true));
    assert.isTrue(upAfter(true, false, false, false, true, true));
  });

  it("answers the same value when nothing has changed", () => {
    const up = observe(unknown, true, { rise: 2, fall: 3 });
    assert.strictEqual(observe(up, true, { rise: 2, fall: 3 }), up);
  });
});
