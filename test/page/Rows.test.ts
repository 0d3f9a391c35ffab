import { FastCheck as fc } from "effect";
import { describe, expect, it } from "vitest";
import * as Rows from "../../src/page/Rows.js";
import { backendStatus } from "../support/BackendStatus.js";

const row = (id: string, more: Partial<Rows.Backend> = {}) =>
  Rows.row(backendStatus({ id, ...more }), new Map());
const ids = (rows: ReadonlyArray<Rows.Row>) => rows.map(({ id }) => id);

describe("sorting", () => {
  it("by state puts first what needs attention, and equals by id as people count", () => {
    const rows = [row("b-10"), row("b-9"), row("x", { admin: "draining" }), row("z", { healthy: false })];
    expect(ids(Rows.sorted(rows, { column: "state", direction: "ascending" }))).toEqual([
      "z",
      "x",
      "b-9",
      "b-10",
    ]);
  });

  it.each(["ascending", "descending"] as const)("%s leaves what is not known at the end", (direction) => {
    const rows = [row("a"), row("b", { connect_ms: 2 }), row("c", { connect_ms: 1 })];
    expect(ids(Rows.sorted(rows, { column: "connect", direction })).at(-1)).toBe("a");
  });

  it("by any column loses none, and does not depend on the order before", () => {
    const some = fc.array(
      fc.record({ id: fc.string(), open: fc.nat(3), connect: fc.option(fc.nat(3)), healthy: fc.boolean() }),
    );
    const order = fc.record({
      column: fc.constantFrom(...Rows.columns.map(({ name }) => name)),
      direction: fc.constantFrom("ascending" as const, "descending" as const),
    });
    fc.assert(
      fc.property(some, order, (list, by) => {
        const rows = list.map(({ connect, healthy, id, open }, n) =>
          row(id, { open, healthy, connect_ms: connect, address: `10.0.0.${n}:80` }),
        );
        const sorted = Rows.sorted(rows, by);
        expect(Rows.sorted([...rows].reverse(), by)).toEqual(sorted);
        expect(new Set(sorted)).toEqual(new Set(rows));
        const value = Rows.columns.find(({ name }) => name === by.column)?.by;
        const numbers = sorted.map((each) => value?.(each)).filter((each) => typeof each === "number");
        const expected = [...numbers].sort((left, right) =>
          by.direction === "ascending" ? left - right : right - left,
        );
        expect(numbers).toEqual(expected);
      }),
    );
  });

  it("by a header begins with its own direction, and turns when it is pressed again", () => {
    const once = Rows.pressed({ column: "state", direction: "ascending" }, "open");
    expect(once).toEqual({ column: "open", direction: "descending" });
    expect(Rows.pressed(once, "open")).toEqual({ column: "open", direction: "ascending" });
  });
});

describe("filtering", () => {
  const rows = [row("web-1"), row("web-2", { healthy: false, why: "timed out" }), row("db-1")];

  it.each([
    [{ text: "", state: "all" }, ["web-1", "web-2", "db-1"]],
    [{ text: " WEB ", state: "all" }, ["web-1", "web-2"]],
    [{ text: "timed web", state: "all" }, ["web-2"]],
    [{ text: "10.0.0.1", state: "up" }, ["web-1", "db-1"]],
    [{ text: "nothing", state: "all" }, []],
  ] as const)("by %j shows %j", (filter, shown) => {
    expect(ids(rows.filter(Rows.passes(filter)))).toEqual(shown);
  });
});

describe("held rows", () => {
  it("stay where they are, without those that are gone, and new ones come last", () => {
    const [a, b, c] = [row("a"), row("b"), row("c")];
    expect(ids(Rows.held([b.key, "gone", a.key], [a, c, b]))).toEqual(["b", "a", "c"]);
  });
});
