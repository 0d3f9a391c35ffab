/**
 * JSON of long lists, in steps: a thousand backends are a third of a megabyte. Each function yields between two steps,
 * and returns the text in UTF-8, in pieces. The items are taken one by one, and may be computed as they are.
 */

/** How many items are written in one step. */
export const itemsPerStep = 8;

/** And how many are encoded at once. */
const itemsInAPiece = 4 * itemsPerStep;

type Pieces = Generator<void, ReadonlyArray<Uint8Array>>;

const encoder = new TextEncoder();

/** A list, between two texts. `separator` is a comma, and spaces where need be. */
export function* list(items: Iterable<unknown>, before = "", after = "", separator = ","): Pieces {
  const pieces: Array<Uint8Array> = [];
  let text = `${before}[`;
  let count = 0;
  for (const item of items) {
    text += count === 0 ? JSON.stringify(item) : `${separator}${JSON.stringify(item)}`;
    count += 1;
    if (count % itemsInAPiece === 0) {
      pieces.push(encoder.encode(text));
      text = "";
    }
    if (count % itemsPerStep === 0) yield;
  }
  pieces.push(encoder.encode(`${text}]${after}`));
  return pieces;
}

/** An object of at least one field, with a list as its last one, between two texts. */
export const objectWithList = (
  fields: object,
  name: string,
  items: Iterable<unknown>,
  before = "",
  after = "",
): Pieces =>
  list(items, `${before}${JSON.stringify(fields).slice(0, -1)},${JSON.stringify(name)}:`, `}${after}`);
