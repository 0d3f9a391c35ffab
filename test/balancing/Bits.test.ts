import { FastCheck as fc } from "effect";
import { assert, describe, it } from "vitest";
import * as Bits from "../../src/balancing/Bits.js";

describe("a set of bits", () => {
  it("answers what a sorted array of its numbers answers", () => {
    const number = fc.oneof(fc.nat(100), fc.nat(1_000));
    fc.assert(
      fc.property(
        fc.array(fc.tuple(number, fc.boolean()), { maxLength: 200, size: "max" }),
        number,
        (steps, n) => {
          let bits: Bits.Bits = [];
          const model = new Set<number>();
          for (const [at, isIn] of steps) {
            bits = Bits.set(bits, at, isIn);
            if (isIn) model.add(at);
            else model.delete(at);
          }
          const all = [...model].sort((a, b) => a - b);
          assert.strictEqual(Bits.next(bits, n), all.find((one) => one >= n) ?? -1);
          assert.strictEqual(Bits.below(bits, n), all.filter((one) => one < n).length);
          all.forEach((one, i) => {
            assert.strictEqual(Bits.nth(bits, i), one);
          });
          assert.strictEqual(Bits.nth(bits, all.length), -1);
          const before = [...bits];
          Bits.set(bits, n, true);
          Bits.set(bits, n, false);
          assert.deepStrictEqual([...bits], before, "it is a value");
        },
      ),
    );
  });
});
