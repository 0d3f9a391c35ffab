/**
 * After a test that has held up the loop, lets Vitest's worker hear what its parent has answered. Tests that never wait
 * follow one another without a turn of the loop, and a worker that hears nothing for a minute fails the run ("Timeout
 * calling onTaskUpdate").
 */
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, beforeEach } from "vitest";

/** From how long a test, in milliseconds, and how long it waits for the answer then. */
const heldUp = 1_000;
const answerMillis = 20;

let since = 0;

beforeEach(() => {
  since = performance.now();
});

afterEach(async () => {
  if (performance.now() - since > heldUp) await sleep(answerMillis);
});
