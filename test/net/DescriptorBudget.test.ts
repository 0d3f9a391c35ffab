import { FastCheck as fc } from "effect";
import { describe, expect, it } from "vitest";
import * as DescriptorBudget from "../../src/net/DescriptorBudget.js";

describe("the budget of descriptors", () => {
  it("leaves one for every client's backend, and some for the rest, with monitoring at its most", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 64, max: 1_048_576 }),
        fc.integer({ min: 10, max: 30 }),
        (limit, open) => {
          const clients = DescriptorBudget.forClients({ limit, open }) ?? Number.NaN;
          expect(clients).toBeGreaterThanOrEqual(1);
          expect(open + 2 * clients + DescriptorBudget.forMonitoring(limit)).toBeLessThanOrEqual(limit - 4);
        },
      ),
    );
  });

  it("has no limit where none is known", () => {
    expect(DescriptorBudget.forClients(undefined)).toBeUndefined();
    expect(DescriptorBudget.forClients({ limit: undefined, open: 20 })).toBeUndefined();
  });
});
