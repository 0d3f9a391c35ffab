import { FastCheck as fc } from "effect";
import { assert, describe, it } from "vitest";
import { DenialTally, mostClients } from "../../src/proxy/DenialTally.js";

describe("DenialTally", () => {
  it("says of the first at once, and then no more than once in each interval of all since", () => {
    const tally = new DenialTally(5_000);
    assert.deepStrictEqual(tally.add("a", "denied", 0), {
      count: 1,
      mostFrom: "a",
      ofThese: 1,
      why: "denied",
    });
    assert.isUndefined(tally.add("a", "denied", 1));
    assert.isUndefined(tally.add("b", "denied", 2));
    assert.isUndefined(tally.add("b", "denied", 4_999));
    const most = { count: 4, mostFrom: "b", ofThese: 2, why: "too many" };
    assert.deepStrictEqual(tally.add("c", "too many", 5_000), most);
    const one = { count: 1, mostFrom: "c", ofThese: 1, why: "denied" };
    assert.deepStrictEqual(tally.add("c", "denied", 20_000), one);
  });

  it("has what was not said yet for whoever asks once the interval is over, and only once", () => {
    const tally = new DenialTally(5_000);
    tally.add("a", "denied", 0);
    assert.isUndefined(tally.rest(9_000));
    tally.add("a", "denied", 10_000);
    tally.add("b", "denied", 10_001);
    assert.isUndefined(tally.rest(14_999));
    assert.deepStrictEqual(tally.rest(15_000), { count: 1, mostFrom: "b", ofThese: 1, why: "denied" });
    assert.isUndefined(tally.rest(30_000));
  });

  it("counts each once, whoever comes when", () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.constantFrom("a", "b", "c"), fc.nat(3_000))), (steps) => {
        const tally = new DenialTally(5_000);
        let since: Array<string> = [];
        let now = 0;
        for (const [host, after] of steps) {
          now += after;
          since.push(host);
          const summary = tally.add(host, "denied", now);
          if (summary === undefined) continue;
          const of = (who: string) => since.filter((each) => each === who).length;
          assert.strictEqual(summary.count, since.length);
          assert.strictEqual(summary.ofThese, of(summary.mostFrom));
          assert.strictEqual(summary.ofThese, Math.max(...["a", "b", "c"].map(of)));
          since = [];
        }
      }),
    );
  });

  it("tells no more than a thousand clients apart, and counts the others all the same", () => {
    const tally = new DenialTally(5_000);
    tally.add("first", "denied", 0);
    for (let i = 0; i < 3 * mostClients; i++) tally.add(`client ${i}`, "denied", 1);
    for (let i = 0; i < 3; i++) tally.add("client 0", "denied", 2);
    assert.deepStrictEqual(tally.add("last", "denied", 6_000), {
      count: 3 * mostClients + 4,
      mostFrom: "client 0",
      ofThese: 4,
      why: "denied",
    });
  });
});
