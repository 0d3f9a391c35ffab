import { stripVTControlCharacters } from "node:util";
import { assert, describe, it } from "@effect/vitest";
import { FastCheck as fc } from "effect";
import { cell, figure, render } from "../../src/cli/Table.js";

const rows = fc.array(
  fc.tuple(fc.string({ unit: "grapheme" }), fc.integer(), fc.string({ unit: "binary" })),
  {
    minLength: 1,
  },
);

const cells = ([one, two, three]: readonly [string, number, string]) => [
  cell(one, "red"),
  figure(two),
  cell(three),
];

describe("a table", () => {
  it("has one line for the titles and one for each row, whatever the text is", () => {
    fc.assert(
      fc.property(rows, (given) => {
        const lines = render(["ONE", "TWO", "THREE"], given.map(cells), false).split("\n");
        assert.lengthOf(lines, given.length + 1);
      }),
    );
  });

  it("lets no control character through, and has colours only where they are wanted", () => {
    fc.assert(
      fc.property(rows, (given) => {
        const table = given.map(cells);
        const plain = render(["ONE", "TWO", "THREE"], table, false);
        assert.notMatch(plain.replaceAll("\n", ""), /\p{Cc}/u);
        const coloured = render(["ONE", "TWO", "THREE"], table, true);
        assert.notStrictEqual(coloured, plain);
        const visible = (text: string) => stripVTControlCharacters(text).replace(/ +$/gm, "");
        assert.strictEqual(visible(coloured), visible(plain));
      }),
    );
  });

  it("aligns words to the left and figures to the right, under their titles", () => {
    const table = [
      [cell("a"), figure(1), cell("x")],
      [cell("long"), figure(12345), cell("")],
      [cell("b"), figure(null), cell("y")],
    ];
    assert.strictEqual(
      render(["ID", "N", "WHY"], table, false),
      ["ID        N  WHY", "a         1  x", "long  12345", "b         -  y"].join("\n"),
    );
  });
});
