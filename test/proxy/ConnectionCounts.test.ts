import { assert, describe, it } from "vitest";
import { ConnectionCounts } from "../../src/proxy/ConnectionCounts.js";

describe("ConnectionCounts", () => {
  it("keeps nothing of clients that have left", () => {
    const counts = new ConnectionCounts(2);
    for (let i = 0; i < 1_000; i++) {
      counts.add(i);
      counts.add(i);
      counts.remove(i);
      counts.remove(i);
    }
    assert.strictEqual(counts.size, 0);
  });
});
