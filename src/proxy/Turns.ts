/**
 * The scheduler of the connection fibers. All of them that were resumed in one turn of the loop run right after it,
 * in the order in which they were resumed.
 *
 * Effect's own scheduler keeps a queue for each fiber, and asks a fiber before each of its operations how many it may
 * still do. For fibers that wait twice and do little in between that is a good part of their cost.
 */
import type { Scheduler } from "effect";

/** Operations after which a fiber lets others run. */
const mostOperations = 2048;

/** Rounds of fibers that resume fibers after which the loop has its turn. */
const mostRounds = 64;

export const make = (): Scheduler.Scheduler => {
  let waiting: Array<Scheduler.Task> = [];
  let running: Array<Scheduler.Task> = [];
  let rounds = 0;

  const run = (): void => {
    const tasks = waiting;
    waiting = running;
    running = tasks;
    // A fiber's task does not throw.
    for (const task of tasks) task();
    tasks.length = 0;
    if (waiting.length > 0) next();
    else rounds = 0;
  };
  const afresh = (): void => {
    rounds = 0;
    run();
  };
  const next = (): void => {
    rounds += 1;
    if (rounds < mostRounds) queueMicrotask(run);
    else setImmediate(afresh);
  };

  return {
    shouldYield: ({ currentOpCount }) => (currentOpCount > mostOperations ? 0 : false),
    scheduleTask: (task) => {
      // Whoever is first sees to it that all are run.
      if (waiting.push(task) === 1 && running.length === 0) queueMicrotask(run);
    },
  };
};
