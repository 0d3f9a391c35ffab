import { assert, describe, it } from "@effect/vitest";
import { ThreadCounts } from "../../../src/transport/threads/ThreadCounts.js";

describe("ThreadCounts", () => {
  it("tell the main thread how often it has turned, and how often of these it has waited", () => {
    const memory = ThreadCounts.memory();
    const data = new ThreadCounts(memory);
    const main = new ThreadCounts(memory);
    assert.deepStrictEqual([main.turns, main.waits], [0, 0]);
    for (const waited of [true, false, false, true, false]) data.turned(waited);
    assert.deepStrictEqual([main.turns, main.waits], [5, 2]);
  });

  it("tell what it does, and the descriptor that it has worked on last", () => {
    const memory = ThreadCounts.memory();
    const data = new ThreadCounts(memory);
    const main = new ThreadCounts(memory);
    assert.deepStrictEqual([main.phase, main.descriptor], ["starting", 0]);
    for (const phase of ["orders", "timers", "relaying", "waiting"] as const) {
      data.enters(phase);
      assert.strictEqual(main.phase, phase);
    }
    data.descriptors[0] = 57;
    assert.deepStrictEqual([main.phase, main.descriptor, main.turns], ["waiting", 57, 0]);
  });

  it.runIf(process.platform === "linux")(
    "have the processor time of a thread that has said which it is",
    () => {
      const memory = ThreadCounts.memory();
      const counts = new ThreadCounts(memory);
      assert.isUndefined(counts.cpuSeconds);
      // A process's first thread has its number.
      new ThreadCounts(memory).begin(process.pid);
      const { system, user } = process.cpuUsage();
      assert.isAbove(Number(counts.cpuSeconds), 0);
      assert.isBelow(Number(counts.cpuSeconds), (system + user) / 1e6 + 60);
    },
  );
});
