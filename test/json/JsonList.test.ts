import { assert, describe, it } from "@effect/vitest";
import { FastCheck } from "effect";
import { JsonList, type Limits, oversized, type Problem } from "../../src/json/JsonList.js";

const wide: Limits = { bytes: 1_000_000, entries: 10_000, depth: 100, entryBytes: 100_000 };

interface Read {
  readonly problem: Problem | undefined;
  readonly entries: ReadonlyArray<unknown>;
  /** How many entries, and how many bytes of pieces, there were in each slice. */
  readonly slices: ReadonlyArray<number>;
}

/** Reads a text that arrives in pieces of these lengths, again and again. */
const read = (
  text: string | Uint8Array,
  {
    limits = wide,
    pieces = [65_536],
  }: { readonly limits?: Limits; readonly pieces?: ReadonlyArray<number> } = {},
): Read => {
  const bytes = typeof text === "string" ? Buffer.from(text) : text;
  const entries: Array<unknown> = [];
  const places: Array<number> = [];
  const slices: Array<number> = [];
  const list = new JsonList(limits, (entry, place) => {
    entries.push(entry);
    places.push(place);
  });
  let before = 0;
  const endSlice = () => {
    slices.push(entries.length - before);
    before = entries.length;
  };
  let problem: Problem | undefined;
  for (let at = 0, i = 0; at < bytes.length && problem === undefined; i++) {
    const length = pieces[i % pieces.length] ?? 1;
    const pushed = list.push(bytes.subarray(at, at + length));
    let step = pushed.next();
    while (step.done !== true) {
      endSlice();
      step = pushed.next();
    }
    problem = step.value;
    at += length;
  }
  endSlice();
  assert.deepStrictEqual(
    places,
    entries.map((_, i) => i + 1),
  );
  return { problem: problem ?? list.end(), entries, slices };
};

const piecesOf = FastCheck.array(FastCheck.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 5 });

describe("JsonList", () => {
  it("reads what JSON.parse reads, in whatever pieces and with whatever spaces it comes", () => {
    const spaced = (text: string, spaces: string) =>
      text.replaceAll(/[[\]{}:,]/g, (mark) => `${spaces}${mark}${spaces}`);
    FastCheck.assert(
      FastCheck.property(
        FastCheck.array(FastCheck.jsonValue()),
        piecesOf,
        FastCheck.stringMatching(/^[ \t\r\n]{0,3}$/),
        FastCheck.boolean(),
        (value, pieces, spaces, marked) => {
          const plain = JSON.stringify(value);
          // In texts, brackets and commas are no marks.
          const text = plain.includes('"') ? plain : spaced(plain, spaces);
          const result = read(`${marked ? "\ufeff" : ""}${spaces}${text}${spaces}`, { pieces });
          assert.isUndefined(result.problem);
          assert.deepStrictEqual(result.entries, JSON.parse(text));
        },
      ),
    );
  });

  it("refuses what JSON.parse refuses, and what is no list", () => {
    const mark = FastCheck.constantFrom(
      "[",
      "]",
      "{",
      "}",
      ",",
      ":",
      '"',
      "\\",
      " ",
      "1",
      "null",
      "true",
      '"a"',
      "{}",
    );
    FastCheck.assert(
      FastCheck.property(FastCheck.array(mark, { maxLength: 12 }), piecesOf, (marks, pieces) => {
        const text = marks.join("");
        let parsed: unknown;
        let problem: Problem | undefined;
        try {
          parsed = JSON.parse(text);
          if (parsed !== null && !Array.isArray(parsed)) problem = "not-a-list";
        } catch {
          problem = "not-json";
        }
        const result = read(text, { pieces });
        assert.strictEqual(result.problem, problem, text);
        if (problem === undefined) assert.deepStrictEqual(result.entries, parsed ?? []);
      }),
      { numRuns: 5000 },
    );
  });

  it("refuses what is not UTF-8, also where a character is cut in two by an entry's end", () => {
    for (const bytes of [
      [0x5b, 0x22, 0xff, 0x22, 0x5d],
      [0x5b, 0x22, 0xc3, 0x22, 0x2c, 0x22, 0xa4, 0x22, 0x5d],
      [0xff],
      [0xef, 0xbb],
    ]) {
      assert.strictEqual(read(Uint8Array.from(bytes)).problem, "not-json");
    }
    assert.deepStrictEqual(read('["ä","\\ud800"]', { pieces: [1] }).entries, ["ä", "\ud800"]);
  });

  it("takes what is within its limits, and nothing above them", () => {
    const limits = { bytes: 40, entries: 3, depth: 4, entryBytes: 20 };
    for (const [text, problem] of [
      [`[1]${" ".repeat(37)}`, undefined],
      [`[1]${" ".repeat(38)}`, "bytes"],
      ["[1,2,3]", undefined],
      ["[1,2,3,4]", "entries"],
      ["[[[{}]]]", undefined],
      ["[[[[[]]]]]", "depth"],
      ["[[[[{}]]]]", "depth"],
      // Brackets in a text nest nothing.
      ['["[[[[[["]', undefined],
    ] as const) {
      for (const pieces of [[1], [64]])
        assert.strictEqual(read(text, { limits, pieces }).problem, problem, text);
    }
  });

  it("leaves out an entry that is too long, and reads the others", () => {
    const limits = { ...wide, entryBytes: 10 };
    for (const pieces of [[1], [7], [1000]]) {
      const result = read('[1, "12345678", "123456789", {"a": "]}\\"]"}, 2]', { limits, pieces });
      assert.isUndefined(result.problem);
      assert.deepStrictEqual(result.entries, [1, "12345678", oversized, oversized, 2]);
    }
  });

  it("looks at no more than the first thousand bytes of what is no list", () => {
    const endless = read("<html>".repeat(100_000));
    assert.strictEqual(endless.problem, "not-a-list");
    assert.strictEqual(read("<html>").problem, "not-json");
    assert.strictEqual(read(`"${"x".repeat(10)}"`).problem, "not-a-list");
  });

  it("ends a slice after a thousand entries, and after 128 KiB, in whatever pieces they come", () => {
    for (const pieces of [[1], [1000], [65_536], [1_000_000]]) {
      const many = read(`[${"{},".repeat(9_999)}{}]`, { pieces });
      assert.lengthOf(many.entries, 10_000);
      assert.isAtMost(Math.max(...many.slices), 1024);
      const long = read(JSON.stringify(Array.from({ length: 10 }, () => "x".repeat(99_000))), { pieces });
      assert.lengthOf(long.entries, 10);
      // 128 KiB hold the ends of two of them at most.
      assert.isAtMost(Math.max(...long.slices), 2);
      assert.isAtLeast(long.slices.length, 7);
    }
  });
});
