import { assert, describe, it } from "@effect/vitest";
import { Connecting, type Settled } from "../../../src/transport/linux/Connecting.js";
import { EINTR } from "../../../src/transport/linux/Libc.js";
import { Socket } from "../../../src/transport/linux/Socket.js";
import { simulated } from "./simulation/Simulated.js";

const begun = (change?: Parameters<typeof simulated>[0]) => {
  const { engine, kernel } = simulated(change);
  const results: Array<Settled> = [];
  const attempt = new Connecting(engine, { host: "127.0.0.1", port: 2 }, (result) => results.push(result));
  const start = (): void => attempt.start({ family: 2, address: engine.address, length: 16 }, 1_000);
  const untimed = (): void => {
    Object.assign(attempt, { expire: () => assert.fail("its deadline was over") });
    while (kernel.pass()) {
      if (kernel.hostLoop.now() > 10_000) return;
    }
  };
  return { attempt, kernel, results, start, untimed };
};

describe("Connecting", () => {
  it("has no deadline any more once it is connected", () => {
    const { kernel, results, start, untimed } = begun();
    start();
    while (results.length === 0) {
      kernel.settle();
      kernel.turn();
    }
    assert.instanceOf(results[0], Socket);
    untimed();
  });

  it("leaves neither a descriptor nor a deadline when it is given up", () => {
    const { attempt, kernel, results, start, untimed } = begun();
    const before = kernel.open;
    start();
    assert.strictEqual(kernel.open, before + 1);
    attempt.cancel();
    assert.strictEqual(kernel.open, before);
    untimed();
    assert.deepStrictEqual(results, []);
  });

  it("goes on when it was interrupted by a signal", () => {
    const { kernel, results, start } = begun((libc) => ({
      connect: (fd, address, length) => {
        libc.connect(fd, address, length);
        return -EINTR;
      },
    }));
    start();
    while (results.length === 0) {
      kernel.settle();
      kernel.turn();
    }
    assert.instanceOf(results[0], Socket);
  });
});
