/**
 * `npm run test:simulate -- --schedules 1000000 --seed 1`: as many schedules as one has time for; with `--threads` of the
 * main thread and two data threads.
 */
import { parseArgs } from "node:util";
import * as OneThread from "./Schedule.js";
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
const first = values.seed === undefined ? Math.floor(Math.random() * 4_000_000_000) : Number(values.seed);
if (!Number.isSafeInteger(schedules) || schedules < 1 || !Number.isSafeInteger(first) || first < 0) {
  process.stderr.write("usage: npm run test:simulate -- [--schedules NUMBER] [--seed NUMBER] [--threads]\n");
  process.exit(64);
}

process.stdout.write(`${schedules} schedules, seeds from ${first}\n`);
const from = performance.now();
for (let i = 0; i < schedules; i++) {
  try {
    Schedule.run(first + i);
  } catch (violation) {
    process.stderr.write(`${Schedule.report(first + i, violation)}\n`);
    process.exit(1);
  }
  if ((i + 1) % 50_000 === 0) {
    process.stdout.write(`${i + 1} schedules in ${((performance.now() - from) / 1000).toFixed(0)} s\n`);
  }
}
process.stdout.write(`all ${schedules} keep their promises\n`);
