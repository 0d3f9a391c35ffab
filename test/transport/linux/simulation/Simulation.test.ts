import { assert, describe, it } from "@effect/vitest";
import { Relay } from "../../../../src/transport/linux/Relay.js";
import type { RelayOutcome } from "../../../../src/transport/Transport.js";
import * as Schedule from "./Schedule.js";
import { simulated } from "./Simulated.js";

const schedules = 5_000;

/** Runs the schedules of these seeds; the first that fails is told, with its log and how to run it again. */
const runAll = (from: number): void => {
  for (let seed = from; seed < from + schedules; seed++) {
    try {
      Schedule.run(seed);
    } catch (violation) {
      assert.fail(Schedule.report(seed, violation));
    }
  }
};

describe("the Linux transport over a simulated kernel", () => {
  it(`keeps its promises in ${schedules} schedules`, { timeout: 600_000 }, () => {
    runAll(1);
  });

  it(`keeps its promises in ${schedules} schedules that nobody has seen before`, { timeout: 600_000 }, () => {
    const from = Math.floor(Math.random() * 4_000_000_000);
    process.stdout.write(`seeds from ${from}\n`);
    runAll(from);
  });

  it("passes no end on that a read is told of after a write was told of the reset", () => {
    const { engine, pair } = simulated();
    const { backend, client, from, to } = pair();
    // The backend has sent a part of its answer, and its reset is there before its event.
    backend.wire?.deliver(backend.stream, 0, 794);
    backend.wire?.deliverReset();
    client.wire?.deliver(client.stream, 0, 9);
    const outcomes: Array<RelayOutcome> = [];
    new Relay(from, to, { received: 0, sent: 0 }, (outcome) => outcomes.push(outcome)).start();
    assert.deepStrictEqual(outcomes, [{ end: "backend-reset", received: 9, sent: 794 }]);
    assert.isFalse(client.finArrived);
    assert.isTrue(client.resetArrived);
    engine.shutdown();
  });
});
