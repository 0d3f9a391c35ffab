import { assert, describe, it } from "@effect/vitest";
import { Relay } from "../../../../src/transport/linux/Relay.js";
import type { RelayOutcome } from "../../../../src/transport/Transport.js";
import * as Schedule from "./Schedule.js";
import * as Seeds from "./Seeds.js";
import { simulated } from "./Simulated.js";

const schedules = 5_000;

describe("the Linux transport over a simulated kernel", () => {
  it(`keeps its promises in ${schedules} schedules`, { timeout: 600_000 }, () => {
    return Seeds.runAll(Schedule, 1, schedules);
  });

  it(`keeps its promises in ${schedules} schedules that nobody has seen before`, { timeout: 600_000 }, () => {
    const from = Seeds.unseen();
    process.stdout.write(`seeds from ${from}\n`);
    return Seeds.runAll(Schedule, from, schedules);
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
