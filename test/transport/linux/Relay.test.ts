import { assert, describe, it } from "@effect/vitest";
import { Relay } from "../../../src/transport/linux/Relay.js";
import { simulated } from "./simulation/Simulated.js";

/** A relay over a kernel whose buffers hold `buffers` bytes, and what it asks of that kernel. */
const relayed = (buffers: number) => {
  const moved = { copied: 0, spliced: 0, asked: 0 };
  const { engine, kernel, pair } = simulated((libc) => ({
    read: (fd, block, offset, length) => {
      const received = libc.read(fd, block, offset, length);
      if (received > 0) moved.copied += received;
      return received;
    },
    splice: (from, to, length) => {
      moved.asked += 1;
      const result = libc.splice(from, to, length);
      // Into a pipe, and later out of it.
      if (result > 0) moved.spliced += result / 2;
      return result;
    },
  }));
  kernel.buffers = buffers;
  const { backend, client, from, to } = pair();
  const relay = new Relay(from, to, { received: 0, sent: 0 }, () => assert.fail("it is not over"));
  relay.start();
  let sent = 0;
  /** The client sends; the backend has as much room as it had, once it has read. */
  const send = (length: number): void => {
    assert.strictEqual(client.wire?.deliver(client.stream, sent, length), length);
    sent += length;
  };
  const settle = (): void => {
    do {
      backend.wire?.drained(backend.waiting);
      backend.waiting = 0;
    } while (kernel.turn());
    assert.strictEqual(backend.arrived, sent);
  };
  return { backend, engine, from, kernel, moved, relay, send, settle };
};

describe("Relay", () => {
  it("copies while a flow is small, lets the kernel move it when it is bulky, and copies again", () => {
    const { moved, send, settle } = relayed(1_000_000);
    for (let i = 0; i < 10; i++) {
      send(20_000);
      settle();
    }
    assert.deepStrictEqual(moved, { copied: 200_000, spliced: 0, asked: 0 });
    send(900_000);
    settle();
    // What made it bulky was copied.
    assert.strictEqual(moved.copied, 200_000 + 65_536);
    assert.strictEqual(moved.spliced, 900_000 - 65_536);
    for (let i = 0; i < 4; i++) {
      send(1_000);
      settle();
    }
    const { asked } = moved;
    send(1_000);
    settle();
    assert.strictEqual(moved.asked, asked);
  });

  it("takes a flow for bulky after four reads of half a buffer, one after another", () => {
    const { moved, send, settle } = relayed(1_000_000);
    for (const length of [40_000, 40_000, 40_000, 1, 40_000, 40_000, 40_000, 40_000]) {
      send(length);
      settle();
    }
    assert.strictEqual(moved.asked, 0);
    send(40_000);
    settle();
    assert.isAbove(moved.asked, 0);
  });

  it("has no pipe while a bulky flow is quiet, so that others can have it", () => {
    const { engine, kernel, send, settle } = relayed(1_000_000);
    send(900_000);
    settle();
    const { open } = kernel;
    const pipe = engine.pipes.acquire({ giveBack: () => false });
    assert.isDefined(pipe);
    assert.strictEqual(kernel.open, open);
  });

  it("keeps 64 KiB at most for a reader that has stalled, gives its pipe back, and loses nothing", () => {
    const { backend, engine, from, kernel, send, settle } = relayed(1_000_000);
    for (const length of [1_000_000, 1_000_000]) {
      send(length);
      while (kernel.turn()) {}
    }
    // The backend has read nothing, and has no room any more.
    const kept = from.received - backend.arrived;
    assert.isAbove(kept, 0);
    assert.isAtMost(kept, 64 * 1024);

    const holder = { giveBack: () => false };
    let last = engine.pipes.acquire(holder);
    while (last !== undefined) last = engine.pipes.acquire(holder);
    kernel.elapse(1_000);
    // After a refusal nobody is asked for a while.
    for (let i = 0; i < 256; i++) assert.isUndefined(engine.pipes.acquire(holder));
    assert.isDefined(engine.pipes.acquire(holder));
    assert.isUndefined(engine.pipes.acquire(holder));
    // The model compares each byte that arrives.
    settle();
  });

  it("moves bulk in slices, however much there is to move", () => {
    const { backend, engine, kernel, send, settle } = relayed(20_000_000);
    // One slice takes more than the millisecond of a turn.
    kernel.callMillis = 1;
    send(10_000_000);
    kernel.turn();
    // The event reads one buffer, and then it is known to be bulk.
    let before = backend.arrived;
    while (backend.arrived < 8_000_000) {
      engine.scheduler.later({ proceed: () => {}, onFault: () => {} });
      kernel.turn();
      assert.isAtMost(backend.arrived - before, 2 * 1024 * 1024);
      before = backend.arrived;
    }
    settle();
  });

  it("does nothing any more when it is given up in the middle of bulk", () => {
    const { backend, engine, kernel, relay, send } = relayed(20_000_000);
    send(10_000_000);
    kernel.turn();
    relay.abort();
    const { arrived } = backend;
    while (kernel.turn()) {}
    assert.strictEqual(backend.arrived, arrived);
    assert.isTrue(backend.resetArrived);
    engine.shutdown();
    assert.strictEqual(kernel.open, 0);
  });
});
