import { FastCheck as fc } from "effect";
import { describe, expect, it } from "vitest";
import * as Json from "../../src/json/Json.js";

/** The text, and how many items each slice took. */
const run = (
  make: (items: Iterable<unknown>) => Generator<void, ReadonlyArray<Uint8Array>>,
  items: ReadonlyArray<unknown>,
) => {
  let taken = 0;
  const slices: Array<number> = [];
  const running = make(
    (function* () {
      for (const item of items) {
        taken += 1;
        yield item;
      }
    })(),
  );
  for (;;) {
    const before = taken;
    const slice = running.next();
    slices.push(taken - before);
    if (slice.done === true) return { text: Buffer.concat(slice.value).toString(), slices };
  }
};

describe("JSON in slices", () => {
  it("is the JSON of the whole, and takes a bounded number of items at once", () => {
    fc.assert(
      fc.property(
        fc.array(fc.record({ id: fc.string(), open: fc.nat() }), { maxLength: 300 }),
        fc.string(),
        (items, text) => {
          const list = run((all) => Json.list(all), items);
          expect(list.text).toBe(JSON.stringify(items));
          for (const slice of list.slices) expect(slice).toBeLessThanOrEqual(Json.itemsPerStep);
          const object = run((all) => Json.objectWithList({ text, n: 1 }, "list", all, "<", ">"), items);
          expect(object.text).toBe(`<${JSON.stringify({ text, n: 1, list: items })}>`);
        },
      ),
    );
  });
});
