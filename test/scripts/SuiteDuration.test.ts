import { assert, describe, it } from "@effect/vitest";
import { estimate, inWords } from "../../scripts/SuiteDuration.js";

describe("SuiteDuration", () => {
  const known = { "unit:a": 10_000, "unit:b": 20_000, "e2e:c": 100_000 };

  it("adds up what each file took, and shares it among those that run at the same time", () => {
    assert.strictEqual(estimate(["unit:a", "unit:b"], known, 1), 30_000);
    assert.strictEqual(estimate(["unit:a", "unit:b", "unit:a"], known, 2), 20_000);
  });

  it("is no shorter than the longest file, which one worker runs alone", () => {
    assert.strictEqual(estimate(["unit:a", "e2e:c"], known, 2), 100_000);
  });

  it("takes a file that never ran for an average one of its project", () => {
    assert.strictEqual(estimate(["unit:new"], known, 1), 15_000);
    assert.isAbove(estimate(["e2e:new"], {}, 1), estimate(["unit:new"], {}, 1));
  });

  it("says it in seconds, and in minutes where it is long", () => {
    assert.strictEqual(inWords(0), "1 s");
    assert.strictEqual(inWords(34_400), "34 s");
    assert.strictEqual(inWords(600_000), "10 min");
  });
});
