import { closeSync, openSync } from "node:fs";
import { FastCheck as fc } from "effect";
import { describe, expect, it } from "vitest";
import * as Descriptors from "../../src/net/Descriptors.js";

describe("descriptors", () => {
  it("are divided so that monitoring at its most leaves every client's backend one, and something for the rest", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 64, max: 1_048_576 }),
        fc.integer({ min: 10, max: 30 }),
        (limit, open) => {
          const clients = Descriptors.capacity({ limit, open }) ?? Number.NaN;
          expect(clients).toBeGreaterThanOrEqual(1);
          expect(open + 2 * clients + Descriptors.ofMonitoring(limit)).toBeLessThanOrEqual(limit - 4);
        },
      ),
    );
  });

  it("have no limit where none is known", () => {
    expect(Descriptors.capacity(undefined)).toBeUndefined();
    expect(Descriptors.capacity({ limit: undefined, open: 20 })).toBeUndefined();
  });

  it.skipIf(process.platform !== "linux")("are counted", () => {
    const before = Descriptors.read()?.open ?? Number.NaN;
    const fd = openSync("/dev/null", "r");
    try {
      expect(Descriptors.read()?.open).toBe(before + 1);
      expect(Descriptors.read()?.limit).toBeGreaterThan(before);
    } finally {
      closeSync(fd);
    }
  });
});
