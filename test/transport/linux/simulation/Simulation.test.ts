import { assert, describe, it } from "@effect/vitest";
import { Acceptor } from "../../../../src/transport/linux/Acceptor.js";
import { Connecting } from "../../../../src/transport/linux/Connecting.js";
import { Engine } from "../../../../src/transport/linux/Engine.js";
import { Relay } from "../../../../src/transport/linux/Relay.js";
import { Socket } from "../../../../src/transport/linux/Socket.js";
import type { RelayOutcome } from "../../../../src/transport/Transport.js";
import { Kernel } from "./Kernel.js";
import { Peer } from "./Peer.js";
import { Random } from "./Random.js";
import * as Schedule from "./Schedule.js";
import { Stream } from "./Stream.js";

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
  it(`keeps its promises in ${schedules} schedules`, { timeout: 120_000 }, () => {
    runAll(1);
  });

  it(`keeps its promises in ${schedules} schedules that nobody has seen before`, { timeout: 120_000 }, () => {
    const from = Math.floor(Math.random() * 4_000_000_000);
    process.stdout.write(`seeds from ${from}\n`);
    runAll(from);
  });

  it("passes no end on that a read is told of after a write was told of the reset", () => {
    const random = new Random(1);
    const still = (name: string, place: number) =>
      Object.assign(new Peer(name, new Stream(place), random), { step: () => false });
    const client = still("client", 1);
    const backend = still("backend", 2);
    const kernel = new Kernel(random, 0, 100, () => backend, false);
    const engine = new Engine(kernel.libc, kernel.wakeup, 10, (fault) => assert.fail(String(fault)));
    const listener = kernel.listening();
    const sockets: Array<Socket> = [];
    const acceptor = new Acceptor(
      engine,
      listener.fd,
      (connection) => {
        assert.instanceOf(connection, Socket);
        sockets.push(connection);
      },
      () => {},
    );
    acceptor.start();
    listener.connect(client);
    kernel.turn();
    new Connecting(engine, { host: "127.0.0.1", port: 2 }, (result) => {
      assert.instanceOf(result, Socket);
      sockets.push(result);
    }).start({ family: 2, address: engine.address, length: 16 }, 1_000);
    kernel.settle();
    kernel.turn();
    kernel.pair(client, backend);
    const [from, to] = sockets;
    assert.isDefined(from);
    assert.isDefined(to);
    // The backend has sent a part of its answer, and its reset is there before its event.
    backend.wire?.deliver(backend.stream, 0, 794);
    backend.wire?.deliverReset();
    client.wire?.deliver(client.stream, 0, 9);
    const outcomes: Array<RelayOutcome> = [];
    new Relay(from, to, { received: 0, sent: 0 }, (outcome) => outcomes.push(outcome)).start();
    assert.deepStrictEqual(outcomes, [{ end: "backend-reset", received: 9, sent: 794 }]);
    assert.isFalse(client.finArrived);
    assert.isTrue(client.resetArrived);
    acceptor.close();
    engine.shutdown();
  });
});
