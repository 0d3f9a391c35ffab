/**
 * The scheduler of the session fibers. All fibers that were resumed in one callback of the event loop run right after
 * it, in the order in which they were resumed.
 *
 * Effect's own scheduler keeps a queue for each fiber, and reads before each operation how many the fiber may still do.
 * Session fibers wait twice and do little in between: for them that is a large part of the cost.
 */
import type { Scheduler } from "effect";

/** Operations after which a fiber lets others run. */
const maxOperations = 2048;

/** Rounds of fibers that resume other fibers, after which the event loop has its turn. */
const maxRounds = 64;

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
    if (waiting.length > 0) scheduleRun();
    else rounds = 0;
  };
  const runInNewTurn = (): void => {
    rounds = 0;
    run();
  };
  const scheduleRun = (): void => {
    rounds += 1;
    if (rounds < maxRounds) queueMicrotask(run);
    else setImmediate(runInNewTurn);
  };

  return {
    shouldYield: ({ currentOpCount }) => (currentOpCount > maxOperations ? 0 : false),
    scheduleTask: (task) => {
      // The first task of a round schedules it for all that follow.
      if (waiting.push(task) === 1 && running.length === 0) queueMicrotask(run);
    },
  };
};
