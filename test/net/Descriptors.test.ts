import { closeSync, openSync } from "node:fs";
import { describe, expect, it } from "vitest";
import * as Descriptors from "../../src/net/Descriptors.js";

describe("descriptors", () => {
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
