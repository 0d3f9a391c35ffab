import { Worker } from "node:worker_threads";
import { assert, describe, it } from "@effect/vitest";
import { Effect, FastCheck as fc } from "effect";
import * as Protocol from "../../../src/transport/threads/Protocol.js";
import { Queue } from "../../../src/transport/threads/Queue.js";

/** One queue as each of its two threads sees it. */
const both = (capacity: number) => {
  const memory = Queue.memory(capacity);
  return { producer: new Queue(memory), consumer: new Queue(memory), memory };
};

const taken = (queue: Queue): ReadonlyArray<number> => {
  const words: Array<number> = [];
  queue.take((word) => words.push(word));
  return words;
};

describe("Queue", () => {
  it("hands over every word in its order, and wakes exactly whoever has announced its sleep", () => {
    const step = fc.oneof(
      fc.record({ put: fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }) }),
      fc.constantFrom("take", "sleep", "awake", "wakes"),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
        const { consumer, producer } = both(200);
        const waiting: Array<number> = [];
        let asleep = false;
        for (const step of steps) {
          if (typeof step === "object") {
            producer.put(step.put);
            waiting.push(step.put);
          } else if (step === "wakes") {
            assert.strictEqual(producer.wakes(), asleep);
            asleep = false;
          } else if (step === "take") {
            assert.deepStrictEqual(taken(consumer), waiting.splice(0));
          } else if (step === "sleep") {
            assert.strictEqual(consumer.sleep(), waiting.length === 0);
            asleep = waiting.length === 0;
          } else {
            consumer.awake();
            asleep = false;
          }
          assert.strictEqual(consumer.length, waiting.length);
        }
      }),
    );
  });

  it("refuses what it has no room for, and takes it once there is room", () => {
    const { consumer, producer } = both(4);
    for (let round = 0; round < 10; round++) {
      for (let i = 0; i < 4; i++) producer.put(i);
      assert.throws(() => producer.put(4), /full/);
      assert.deepStrictEqual(taken(consumer), [0, 1, 2, 3]);
    }
  });

  it("is handed what is put while it is read in the next turn", () => {
    const { consumer, producer } = both(8);
    producer.put(1);
    const words: Array<number> = [];
    consumer.take((word) => {
      words.push(word);
      if (word === 1) producer.put(2);
    });
    assert.deepStrictEqual(words, [1]);
    assert.isFalse(consumer.sleep());
    assert.deepStrictEqual(taken(consumer), [2]);
  });

  it("is never full, as slots are handed over, aborted late and used again", () => {
    const slots = 5;
    const moves = fc.array(fc.tuple(fc.integer({ min: 0, max: 7 }), fc.integer({ min: 0, max: slots - 1 })), {
      maxLength: 600,
    });
    fc.assert(
      fc.property(moves, (moves) => {
        const orders = both(Protocol.ordersOf(slots));
        const reports = both(Protocol.reportsOf(slots));
        /** The main thread's: what it has handed over, and whether it has aborted that. */
        const handed = new Map<number, { aborted: boolean }>();
        /** The data thread's: what runs. */
        const running = new Set<number>();
        const report = (slot: number, kind: number) => reports.producer.put(Protocol.word(slot, kind));
        for (const [move, slot] of moves) {
          const mine = handed.get(slot);
          if (move <= 1 && mine === undefined) {
            handed.set(slot, { aborted: false });
            orders.producer.put(Protocol.word(slot, Protocol.begin));
          } else if (move === 2 && mine?.aborted === false) {
            mine.aborted = true;
            orders.producer.put(Protocol.word(slot, Protocol.abort));
          } else if (move === 3) {
            for (const order of taken(orders.consumer)) {
              const of = Protocol.slotOf(order);
              if (Protocol.kindOf(order) === Protocol.begin) {
                assert.isFalse(running.has(of), "a slot begins twice");
                running.add(of);
              } else if (running.delete(of)) {
                // An abort of what is over would end the slot's next connection if it were read after its begin.
                assert.isTrue(handed.get(of)?.aborted, "an abort has met another connection");
                report(of, Protocol.ended);
              }
            }
          } else if (move === 4 && running.delete(slot)) {
            report(slot, Protocol.ended);
          } else if (move === 5) {
            for (const told of taken(reports.consumer)) {
              if (Protocol.kindOf(told) === Protocol.ended) handed.delete(Protocol.slotOf(told));
            }
          }
        }
      }),
      { numRuns: 2_000 },
    );
  });

  it.live("loses nothing between two real threads that put each other to sleep and wake each other", () =>
    Effect.promise(async () => {
      // So many, and looked for without pause, that a word that is announced before it is there is read too early.
      const count = 1_000_000;
      const { memory, producer } = both(1_024);
      const bell = new SharedArrayBuffer(4);
      // The consumer in plain JavaScript, as a worker runs no TypeScript: its steps are those of a data thread's loop.
      const source = `
        const { parentPort, workerData } = require("node:worker_threads");
        const { Queue } = eval(workerData.queue);
        const queue = new Queue(workerData.memory), bell = new Int32Array(workerData.bell);
        let expected = 0, wrong = 0;
        while (expected < workerData.count) {
          queue.take((word) => { if (word !== expected) wrong += 1; expected += 1; });
          if (expected % 64 === 0 && expected < workerData.count && queue.sleep()) {
            if (Atomics.wait(bell, 0, 0, 20_000) === "timed-out") break;
            Atomics.store(bell, 0, 0);
          }
          queue.awake();
        }
        parentPort.postMessage({ expected, wrong });`;
      const worker = new Worker(source, {
        eval: true,
        workerData: {
          memory,
          bell,
          count,
          queue: `(() => { const head = 0, tail = 16, sleeping = 32, places = 48; return { Queue: ${Queue.toString()} } })()`,
        },
      });
      const told = new Promise<unknown>((resolve) => worker.once("message", resolve));
      const words = new Int32Array(bell);
      for (let i = 0; i < count; i++) {
        for (let looks = 1; producer.length >= 1_024; looks++)
          if (looks % 10_000 === 0) await new Promise(setImmediate);
        producer.put(i);
        if (producer.wakes()) {
          Atomics.store(words, 0, 1);
          Atomics.notify(words, 0);
        }
      }
      assert.deepStrictEqual(await told, { expected: count, wrong: 0 });
    }),
  );
});
