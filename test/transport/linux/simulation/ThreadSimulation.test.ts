import { describe, it } from "@effect/vitest";
import * as Seeds from "./Seeds.js";
import * as ThreadSchedule from "./ThreadSchedule.js";

const schedules = 2_000;

describe("the main thread and data threads over one simulated kernel", () => {
  it(`keep their promises in ${schedules} schedules`, { timeout: 600_000 }, () => {
    return Seeds.runAll(ThreadSchedule, 1, schedules);
  });

  it(`keep their promises in ${schedules} schedules that nobody has seen before`, {
    timeout: 600_000,
  }, () => {
    const from = Seeds.unseen();
    process.stdout.write(`seeds from ${from}\n`);
    return Seeds.runAll(ThreadSchedule, from, schedules);
  });
});
