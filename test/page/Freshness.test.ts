import { describe, expect, it } from "vitest";
import { clock } from "../../src/page/Format.js";
import { isSilent, warning } from "../../src/page/Freshness.js";

describe("what is shown", () => {
  const heard = 1_000_000;

  it("is fresh until nothing was heard for three seconds", () => {
    expect(warning(heard, 0, heard + 2_999, 2_999)).toBeUndefined();
  });

  it("is stale from then on, and says since when", () => {
    expect(warning(heard, 0, heard + 3_000, 0)).toBe(
      `Stale: nothing was heard since ${clock(heard)} (3 s ago). Reconnecting.`,
    );
  });

  it("is unknown exactly while it is stale, and not while it is late", () => {
    expect(isSilent(heard, 0, heard + 2_999)).toBe(false);
    expect(isSilent(heard, 0, heard + 3_000)).toBe(true);
    expect(isSilent(undefined, heard, heard + 2_999)).toBe(false);
    expect(isSilent(undefined, heard, heard + 3_000)).toBe(true);
  });

  it("is late when it was on its way for three seconds longer than it needs", () => {
    expect(warning(heard, 0, heard + 500, 25_000)).toBe(
      "Late: this was so 25 s ago. Updates come more slowly than the balancer sends them.",
    );
  });

  it("is said to be missing when nothing was ever heard", () => {
    expect(warning(undefined, heard, heard + 2_999, 0)).toBeUndefined();
    expect(warning(undefined, heard, heard + 65_000, 0)).toBe(
      `The balancer has not answered since ${clock(heard)} (1 min 5 s). Trying again.`,
    );
  });
});
