import { assert, describe, it } from "@effect/vitest";
import * as ThreadSchedule from "./ThreadSchedule.js";

const schedules = 2_000;

const runAll = (from: number): void => {
  for (let seed = from; seed < from + schedules; seed++) {
    try {
      ThreadSchedule.run(seed);
    } catch (violation) {
      assert.fail(ThreadSchedule.report(seed, violation));
    }
  }
};

describe("the main thread and data threads over one simulated kernel", () => {
  it(`keep their promises in ${schedules} schedules`, { timeout: 600_000 }, () => {
    runAll(1);
  });

  it(`keep their promises in ${schedules} schedules that nobody has seen before`, {
    timeout: 600_000,
  }, () => {
    const from = Math.floor(Math.random() * 4_000_000_000);
    process.stdout.write(`seeds from ${from}\n`);
    runAll(from);
  });
});
