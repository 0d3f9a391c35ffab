import { assert, describe, it } from "@effect/vitest";
import { ThreadCounts } from "../../../src/transport/threads/ThreadCounts.js";

describe("ThreadCounts", () => {
  it("tell the main thread which thread it is, how often it has turned, and how often of these it has waited", () => {
    const memory = ThreadCounts.memory();
    const data = new ThreadCounts(memory);
    const main = new ThreadCounts(memory);
    assert.deepStrictEqual([main.id, main.turns, main.waits], [0, 0, 0]);
    data.begin(4_711);
    for (const waited of [true, false, false, true, false]) data.turned(waited);
    assert.deepStrictEqual([main.id, main.turns, main.waits], [4_711, 5, 2]);
  });
});
