import { FastCheck as fc } from "effect";
import { assert, describe, it } from "vitest";
import { DenialTally, mostClients } from "../../src/proxy/DenialTally.js";

describe("DenialTally", () => {
  it("says of the first at once, and then no more than once in each interval of all since", () => {
    const tally = new DenialTally(5_000);
    assert.deepStrictEqual(tally.add("a", 0), { count: 1, mostFrom: "a", ofThese: 1 });
    assert.isUndefined(tally.add("a", 1));
    assert.isUndefined(tally.add("b", 2));
    assert.isUndefined(tally.add("b", 4_999));
    assert.deepStrictEqual(tally.add("c", 5_000), { count: 4, mostFrom: "b", ofThese: 2 });
    assert.deepStrictEqual(tally.add("c", 20_000), { count: 1, mostFrom: "c", ofThese: 1 });
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
          const summary = tally.add(host, now);
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
    tally.add("first", 0);
    for (let i = 0; i < 3 * mostClients; i++) tally.add(`client ${i}`, 1);
    for (let i = 0; i < 3; i++) tally.add("client 0", 2);
    assert.deepStrictEqual(tally.add("last", 6_000), {
      count: 3 * mostClients + 4,
      mostFrom: "client 0",
      ofThese: 4,
    });
  });
});
