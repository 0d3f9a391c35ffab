import { assert, describe, it } from "@effect/vitest";
import koffi from "koffi";
import { Engine } from "../../../src/transport/linux/Engine.js";
import * as KoffiLibc from "../../../src/transport/linux/KoffiLibc.js";
import { addressSize, inetLength, writeAddress } from "../../../src/transport/linux/Libc.js";
import { Socket } from "../../../src/transport/linux/Socket.js";
import { Slots } from "../../../src/transport/threads/Slots.js";
import { ThreadHandle } from "../../../src/transport/threads/ThreadHandle.js";

const connections = 5_000;

/** Above all descriptors that this process has: nothing is opened for a client here. */
const firstDescriptor = 2 ** 20;

/** A loop whose turns the test takes, and a clock by which each turn's time is over at once. */
const loop = () => {
  let now = 0;
  const soon: Array<() => void> = [];
  let timers: Array<{ readonly at: number; readonly task: () => void }> = [];
  return {
    hostLoop: {
      watch: () => ({ close: () => {} }),
      soon: (task: () => void) => void soon.push(task),
      now: () => now++,
      after: (millis: number, task: () => void) => {
        const timer = { at: now + millis, task };
        timers.push(timer);
        return {
          cancel: () => {
            timers = timers.filter((each) => each !== timer);
          },
        };
      },
    },
    /** So much later: runs what is due. */
    pass: (millis: number) => {
      now += millis;
      const due = timers.filter(({ at }) => at <= now);
      timers = timers.filter(({ at }) => at > now);
      for (const { task } of due) task();
    },
    /** One turn; false where there is nothing to do. */
    turn: () => {
      const task = soon.shift();
      task?.();
      return task !== undefined;
    },
  };
};

describe.runIf(process.platform === "linux")(
  "what the main thread knows of a data thread's connections",
  () => {
    it("is brought up to date in slices, however many there are, and of those that stand still later too", () => {
      const { pass, turn, hostLoop } = loop();
      const libc = KoffiLibc.make(koffi);
      const engine = new Engine(libc, hostLoop, connections, (fault) => assert.fail(String(fault)));
      const handle = new ThreadHandle(engine, KoffiLibc.makeEventCounters(koffi), {
        name: "simulated",
        slots: 2 * connections,
        descriptors: firstDescriptor + connections,
        pipeBudget: 0,
        onReady: () => {},
        onFault: assert.fail,
      });
      const address = libc.allocate(addressSize);
      writeAddress(address, { family: 2, bytes: [127, 0, 0, 1], port: 9, scope: 0 });
      const to = { family: 2, address, length: inetLength };
      let told = 0;
      const ended: Array<string> = [];
      const counts = Array.from({ length: connections }, () => ({ received: 0, sent: 0 }));
      for (const [i, count] of counts.entries()) {
        const client = new Socket(engine, firstDescriptor + i, { host: "127.0.0.1", port: 9 }, false);
        const options = { timeoutMillis: 1_000, connected: () => void told++ };
        const callbacks = {
          ended: ({ end }: { readonly end: string }) => void ended.push(end),
          failed: () => assert.fail("it failed"),
          threw: (defect: unknown) => assert.fail(String(defect)),
        };
        handle.handOver(client, to, options, count, callbacks);
      }
      /** All turns of a sweep: the most connections of which something was new in one of them. */
      const sweep = (): number => {
        pass(500);
        let most = 0;
        for (let before = told; turn(); before = told) most = Math.max(most, told - before);
        return most;
      };

      const slots = new Slots(handle.memory.slots);
      sweep();
      assert.strictEqual(told, 0);
      for (let slot = 0; slot < connections; slot++) {
        slots.connected(slot, 1, 5);
        slots.counts(slot).received = slot;
      }
      assert.isAtMost(sweep(), 1_024);
      assert.strictEqual(told, connections);
      assert.deepStrictEqual(
        counts.map(({ received }) => received),
        counts.map((_, slot) => slot),
      );

      // One that stood still for several sweeps.
      for (let i = 0; i < 3; i++) sweep();
      slots.counts(4_321).sent += 7;
      sweep();
      assert.strictEqual(counts[4_321]?.sent, 7);
      assert.strictEqual(told, connections);

      // At the end what no sweep has seen is counted all the same.
      slots.counts(17).sent += 3;
      handle.close();
      engine.shutdown();
      assert.strictEqual(counts[17]?.sent, 3);
      assert.deepStrictEqual(new Set(ended), new Set(["thread-lost"]));
      assert.lengthOf(ended, connections);
    });
  },
);
