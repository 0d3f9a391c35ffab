/**
 * `npm run test:simulate -- --schedules 1000000 --seed 1`: as many schedules as one has time for; with `--threads` of the
 * main thread and two data threads.
 */
import { parseArgs } from "node:util";
import * as OneThread from "./Schedule.js";
import * as Seeds from "./Seeds.js";
import * as ThreadSchedule from "./ThreadSchedule.js";

const { values } = parseArgs({
  options: {
    schedules: { type: "string", default: "1000000" },
    seed: { type: "string" },
    threads: { type: "boolean" },
  },
});
const Schedule = values.threads === true ? ThreadSchedule : OneThread;
const schedules = Number(values.schedules);
const first = values.seed === undefined ? Seeds.unseen() : Number(values.seed);
if (!Number.isSafeInteger(schedules) || schedules < 1 || !Number.isSafeInteger(first) || first < 0) {
  process.stderr.write("usage: npm run test:simulate -- [--schedules NUMBER] [--seed NUMBER] [--threads]\n");
  process.exit(64);
}

process.stdout.write(`${schedules} schedules, seeds from ${first}\n`);
const from = performance.now();
try {
  await Seeds.runAll(Schedule, first, schedules, (held) => {
    if (held % 50_000 !== 0) return;
    process.stdout.write(`${held} schedules in ${((performance.now() - from) / 1000).toFixed(0)} s\n`);
  });
} catch (violation) {
  process.stderr.write(`${violation instanceof Error ? violation.message : violation}\n`);
  process.exit(1);
}
process.stdout.write(`all ${schedules} keep their promises\n`);
