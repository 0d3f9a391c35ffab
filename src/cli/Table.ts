/**
 * Rows of text in aligned columns, for a terminal or a pipe. Pure.
 */
import { printable } from "../log/ForeignText.js";

export type Colour = "green" | "yellow" | "red" | "faint";

export interface Cell {
  readonly text: string;
  readonly colour?: Colour | undefined;
  readonly align?: "left" | "right";
}

const codes: Readonly<Record<Colour, string>> = { green: "32", yellow: "33", red: "31", faint: "2" };

/** The text in a colour (ECMA-48), or as it is where there are none. */
export const painted = (text: string, colour: Colour | undefined, colours: boolean): string =>
  colours && colour !== undefined ? `\u001b[${codes[colour]}m${text}\u001b[0m` : text;

/** Text that may come from outside, as it may stand on a terminal. */
export const cell = (text: string, colour?: Colour): Cell => ({ text: printable(text, 200), colour });

export const figure = (value: number | null, colour?: Colour): Cell => ({
  text: value === null ? "-" : String(value),
  align: "right",
  colour,
});

/** One line for the titles and one for each row. */
export const render = (
  titles: ReadonlyArray<string>,
  rows: ReadonlyArray<ReadonlyArray<Cell>>,
  colours: boolean,
): string => {
  const head = titles.map(
    (text, i): Cell => ({ text, colour: "faint", align: rows[0]?.[i]?.align ?? "left" }),
  );
  const all = [head, ...rows];
  const widths = titles.map((_, i) => Math.max(...all.map((row) => row[i]?.text.length ?? 0)));
  return all
    .map((row) =>
      row
        .map(({ align, colour, text }, i) => {
          const width = widths[i] ?? 0;
          // Nothing stands behind the last column.
          const padded =
            align === "right" ? text.padStart(width) : i === row.length - 1 ? text : text.padEnd(width);
          return painted(padded, colour, colours);
        })
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
};
