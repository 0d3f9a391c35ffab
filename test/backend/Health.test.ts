import { FastCheck as fc } from "effect";
import { assert, describe, it } from "vitest";
import {
  type Health,
  noRun,
  type Observation,
  observe,
  type Run,
  unknown,
} from "../../src/backend/Health.js";

const refused = { reason: "refused", message: "it refused" } as const;

/** One result: who had it, whether it was a success, and how many results before it were known when it began. */
interface Result {
  readonly by: Observation["by"];
  readonly succeeded: boolean;
  readonly earlier: number;
  readonly isLast: boolean;
}

const probe = (succeeded: boolean): Result => ({ by: "probe", succeeded, earlier: 0, isLast: false });
const client = (succeeded: boolean): Result => ({ by: "client", succeeded, earlier: 0, isLast: false });

// Each result becomes known one millisecond after the one before.
const believedAfter = (results: ReadonlyArray<Result>, rise: number, fall: number): readonly [Health, Run] =>
  results.reduce<readonly [Health, Run]>(
    ([health, run], { by, earlier, isLast, succeeded }, i) =>
      observe(
        health,
        run,
        { by, began: i - earlier, failure: succeeded ? undefined : refused },
        i,
        { rise, fall },
        isLast,
      ),
    [unknown, noRun],
  );

// The model looks at the whole history: down until the first success, then what the last results in a row say.
const believed = (history: ReadonlyArray<Result>, rise: number, fall: number): boolean => {
  let up = false;
  let proven = false;
  let counted: Array<number> = [];
  history.forEach(({ by, earlier, isLast, succeeded }, i) => {
    if (!up) {
      if (by === "client" && succeeded) return;
      counted = succeeded ? [...counted, i] : [];
      if (counted.length < (proven ? rise : 1)) return;
      up = true;
      proven = true;
      counted = [];
      return;
    }
    if (succeeded) {
      counted = [];
      return;
    }
    const [first] = counted;
    if (first !== undefined && i - earlier < first) return;
    if (counted.length + 1 < fall) counted.push(i);
    else if (by === "probe" || !isLast) {
      up = false;
      counted = [];
    }
  });
  return up;
};

describe("Health", () => {
  it("believes what results in a row say, of probes and of clients, one after the other and at the same time", () => {
    const threshold = fc.integer({ min: 1, max: 5 });
    const result: fc.Arbitrary<Result> = fc.record({
      by: fc.constantFrom("probe", "client"),
      succeeded: fc.boolean(),
      earlier: fc.oneof(fc.constant(0), fc.nat(6)),
      isLast: fc.boolean(),
    });
    fc.assert(
      fc.property(
        fc.array(result, { maxLength: 60, size: "max" }),
        threshold,
        threshold,
        (history, rise, fall) => {
          for (let n = 0; n <= history.length; n++) {
            const [health] = believedAfter(history.slice(0, n), rise, fall);
            assert.strictEqual(health.up, believed(history.slice(0, n), rise, fall));
          }
        },
      ),
      { numRuns: 300 },
    );
  });

  const upAfter = (...results: ReadonlyArray<Result>): boolean => believedAfter(results, 2, 3)[0].up;
  const [good, bad] = [probe(true), probe(false)];

  it("brings a backend up with its first success, and takes one down after `fall` failures in a row only", () => {
    assert.isFalse(upAfter());
    assert.isTrue(upAfter(good));
    assert.isTrue(upAfter(bad, bad, good));
    assert.isTrue(upAfter(good, bad, bad));
    assert.isFalse(upAfter(good, bad, bad, bad));
    assert.isTrue(upAfter(good, bad, bad, good, bad, bad));
    assert.isFalse(upAfter(good, bad, bad, bad, good));
    assert.isFalse(upAfter(good, bad, bad, bad, good, bad, good));
    assert.isTrue(upAfter(good, bad, bad, bad, good, good));
  });

  it("ends a run of failures with a client's success, whoever failed", () => {
    assert.isFalse(upAfter(good, client(false), client(false), client(false)));
    assert.isTrue(upAfter(good, client(false), client(false), client(true), client(false), client(false)));
    assert.isTrue(upAfter(good, bad, bad, client(true), bad, bad));
  });

  it("does not bring a backend up by clients' successes: it is probed", () => {
    assert.isFalse(upAfter(good, bad, bad, bad, client(true), client(true), client(true)));
  });

  it("counts the attempts that were under way when the first failure became known as one with it", () => {
    const atOnce = (earlier: number): Result => ({ ...client(false), earlier });
    assert.isTrue(upAfter(good, client(false), atOnce(2), atOnce(3), atOnce(4), atOnce(5)));
    assert.isFalse(upAfter(good, client(false), atOnce(2), client(false), client(false)));
  });

  it("leaves the last healthy backend to the probes", () => {
    const lone: Result = { ...client(false), isLast: true };
    assert.isTrue(upAfter(good, lone, lone, lone, lone, lone));
    assert.isFalse(upAfter(good, lone, lone, lone, bad));
    assert.isTrue(upAfter(good, lone, lone, lone, good, bad, bad));
  });

  it.each(["no-source-address", "own-address"] as const)(
    "takes a backend down at once where there is %s",
    (reason) => {
      const certain: Observation = { by: "probe", began: 5, failure: { reason, message: reason } };
      const [up, run] = believedAfter([good], 2, 3);
      const [down, later] = observe(up, run, certain, 5, { rise: 2, fall: 3 }, true);
      assert.deepStrictEqual([down.up, down.since, down.why?.reason], [false, 5, reason]);
      assert.strictEqual(observe(down, later, certain, 6, { rise: 2, fall: 3 }, false)[0], down, "said once");
      const [other] = observe(
        ...believedAfter([good, bad, bad, bad], 2, 3),
        certain,
        9,
        { rise: 2, fall: 3 },
        false,
      );
      assert.strictEqual(other.why?.reason, reason, "one that was down for another reason");
    },
  );

  it("is the same value when nothing has changed, and knows when it was looked at last", () => {
    const [up, run] = believedAfter([good], 2, 3);
    const [same, later] = observe(
      up,
      run,
      { by: "probe", began: 7, failure: undefined },
      7,
      { rise: 2, fall: 3 },
      true,
    );
    assert.strictEqual(same, up);
    assert.strictEqual(later.lastCheck, 7);
  });
});
