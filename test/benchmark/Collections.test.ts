import { assert, describe, it } from "@effect/vitest";
import { Collections } from "../bench/Collections.js";

const ofMain = "[6689:0x1239eb80]    14011 ms: Scavenge 58.2 (79.0) -> 42.1 (75.3) MB, 28.14 / 0.06 ms\n";
const ofThread = "[6689:0x7fd030001030]    11474 ms: Scavenge 8.0 (10.2) -> 6.5 (7.7) MB, 1.01 / 0.00 ms\n";
const ofOther =
  "[6689:0x7fd058000f30]    24831 ms: Mark-Compact (reduce) 6.7 (7.7) -> 4.8 (7.7) MB, 5.31 ms\n";

describe("Collections", () => {
  it("counts those of every heap but the first", () => {
    const collections = new Collections();
    for (const text of [ofMain, ofThread, '{"message":"listening"}\n', ofMain, ofOther, ofThread])
      collections.read(text);
    assert.strictEqual(collections.count, 3);
  });

  it("counts a line that comes in pieces once", () => {
    const collections = new Collections();
    for (const letter of ofMain + ofThread + ofThread) collections.read(letter);
    assert.strictEqual(collections.count, 2);
  });
});
