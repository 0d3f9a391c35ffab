import { describe, expect, it } from "vitest";
import { quantity } from "../../src/log/Quantity.js";

describe("a quantity", () => {
  it.each([
    [0, "0 backends"],
    [1, "1 backend"],
    [2, "2 backends"],
  ])("of %i is %s", (count, text) => {
    expect(quantity(count, "backend")).toBe(text);
  });
});
