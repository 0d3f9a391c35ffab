import { FastCheck as fc } from "effect";
import { assert, describe, it } from "vitest";
import { TokenBuckets } from "../../src/proxy/TokenBuckets.js";

describe("TokenBuckets", () => {
  /** In whole numbers, and with the clients in a list in the order in which they were last seen. */
  const model = (count: number, periodMillis: number, most: number) => {
    let seen: Array<{ readonly key: string; readonly parts: bigint; readonly at: number }> = [];
    const [full, cost] = [BigInt(count) * BigInt(periodMillis), BigInt(periodMillis)];
    return (key: string, now: number): boolean => {
      const known = seen.find((each) => each.key === key) ?? { key, parts: full, at: now };
      const filled = known.parts + BigInt(now - known.at) * BigInt(count);
      const parts = filled > full ? full : filled;
      const enough = parts >= cost;
      seen = [
        ...seen.filter((each) => each.key !== key),
        { key, parts: enough ? parts - cost : parts, at: now },
      ];
      seen = seen.slice(-most);
      return enough;
    };
  };

  it("let through what a bucket of whole numbers does, of as many clients as the table holds", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 30 }),
        fc.constantFrom("second" as const, "minute" as const),
        fc.integer({ min: 1, max: 4 }),
        fc.array(
          fc.record({
            key: fc.constantFrom("a", "b", "c", "d", "e"),
            after: fc.oneof(fc.constant(0), fc.nat(100), fc.nat(70_000)),
          }),
          { maxLength: 200 },
        ),
        (count, per, most, steps) => {
          const buckets = new TokenBuckets({ count, per }, most);
          const take = model(count, per === "second" ? 1_000 : 60_000, most);
          let now = 5_000;
          for (const { after, key } of steps) {
            now += after;
            assert.strictEqual(buckets.take(key, now), take(key, now));
            assert.isAtMost(buckets.size, most);
          }
        },
      ),
    );
  });

  it("let a whole second's worth through at once, and then one each time that it has grown", () => {
    const buckets = new TokenBuckets({ count: 20, per: "second" });
    const at = (now: number) =>
      Array.from({ length: 30 }, () => buckets.take("a", now)).filter(Boolean).length;
    assert.deepStrictEqual([0, 49, 50, 99, 150, 10_000].map(at), [20, 0, 1, 0, 2, 20]);
  });

  it("remember 100,000 clients, and forget the one that was not seen for the longest", () => {
    const buckets = new TokenBuckets({ count: 1, per: "minute" });
    for (let i = 0; i < 100_000; i++) buckets.take(i, 0);
    assert.isFalse(buckets.take(0, 0));
    buckets.take(100_000, 0);
    assert.strictEqual(buckets.size, 100_000);
    assert.isFalse(buckets.take(0, 0));
    assert.isTrue(buckets.take(1, 0));
  });
});
