import { assert, describe, it } from "@effect/vitest";
import { FastCheck as fc } from "effect";
import type { ByteCounts } from "../../../src/net/ByteCounts.js";
import * as Slots from "../../../src/transport/threads/Slots.js";

const count = 4;

/** One table as each of its two threads sees it. */
const both = () => {
  const memory = Slots.Slots.memory(count);
  return { main: new Slots.Slots(memory), data: new Slots.Slots(memory) };
};

/** What a connection was begun with, and what was written of it since. */
interface Written {
  client: number;
  timeout: number;
  address: ReadonlyArray<number>;
  micros: number | undefined;
  received: number;
  sent: number;
  result: number;
}

const slot = fc.integer({ min: 0, max: count - 1 });
const word = fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 });
const bytes = fc.integer({ min: 0, max: 2 ** 50 });

describe("Slots", () => {
  it("keep what either thread writes of each connection, and tell it the other", () => {
    const step = fc.oneof(
      fc.record({
        slot,
        begin: fc.record({
          client: fc.nat(2 ** 31 - 1),
          timeout: fc.nat(2 ** 31 - 1),
          // A `sockaddr_in`, and a `sockaddr_in6`, the longest.
          address: fc
            .constantFrom(16, 28)
            .chain((length) =>
              fc.array(fc.integer({ min: 0, max: 255 }), { minLength: length, maxLength: length }),
            ),
        }),
      }),
      fc.record({ slot, micros: fc.integer({ min: 0, max: 2 ** 31 - 1 }) }),
      fc.record({ slot, received: bytes, sent: bytes }),
      fc.record({ slot, result: word }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const { data, main } = both();
        const model: Array<Written | undefined> = [];
        const read = new Uint8Array(32);
        for (const step of steps) {
          if ("begin" in step) {
            const { address, client, timeout } = step.begin;
            main.begin(step.slot, client, timeout, Uint8Array.from(address), address.length);
            model[step.slot] = {
              client,
              timeout,
              address,
              micros: undefined,
              received: 0,
              sent: 0,
              result: model[step.slot]?.result ?? 0,
            };
          } else {
            const written = model[step.slot];
            if (written === undefined) continue;
            if ("micros" in step) {
              data.connected(step.slot, step.micros / 1_000, step.slot + 5);
              written.micros = step.micros;
            } else if ("result" in step) {
              data.setResult(step.slot, step.result);
              written.result = step.result;
            } else {
              const meter = data.counts(step.slot);
              meter.received = step.received;
              meter.sent = step.sent;
              written.received = step.received;
              written.sent = step.sent;
            }
          }
          for (const [at, written] of model.entries()) {
            if (written === undefined) continue;
            assert.strictEqual(data.client(at), written.client);
            const { micros } = written;
            // What connecting has read is not kept.
            assert.strictEqual(main.backend(at), micros === undefined ? undefined : at + 5);
            if (micros === undefined) {
              assert.strictEqual(data.timeoutMillis(at), written.timeout);
              assert.strictEqual(data.address(at, read), written.address.length);
              assert.deepStrictEqual([...read.subarray(0, written.address.length)], written.address);
            }
            assert.strictEqual(main.connectMillis(at), micros === undefined ? undefined : micros / 1_000);
            assert.strictEqual(main.result(at), written.result);
            const { received, sent } = main.counts(at);
            assert.deepStrictEqual([received, sent], [written.received, written.sent]);
          }
        }
      }),
    );
  });

  it("add to a meter what was counted since, and nothing twice", () => {
    fc.assert(
      fc.property(fc.array(fc.record({ up: bytes, down: bytes, look: fc.boolean() })), (steps) => {
        const { data, main } = both();
        main.begin(1, 3, 5, new Uint8Array(16), 16);
        const counting = data.counts(1);
        const before = { received: 0, sent: 0 };
        // The meter has bytes of a connection before it.
        const meter = { received: 7, sent: 9 };
        for (const { down, look, up } of steps) {
          counting.received += up;
          counting.sent += down;
          if (!look) continue;
          main.bringUpToDate(1, before, meter);
          assert.deepStrictEqual(meter, { received: 7 + counting.received, sent: 9 + counting.sent });
        }
      }),
    );
  });

  it("have a preface beside the address, each its own, and none where there is none", () => {
    fc.assert(
      fc.property(
        fc.array(fc.option(fc.uint8Array({ minLength: 1, maxLength: 112 }), { nil: undefined }), {
          minLength: 4,
          maxLength: 4,
        }),
        (prefaces) => {
          const { data, main } = both();
          const address = (slot: number) => new Uint8Array(28).fill(slot + 1);
          for (let slot = 3; slot >= 0; slot--) main.begin(slot, 3, 5, address(slot), 28, prefaces[slot]);
          for (let slot = 0; slot < 4; slot++) {
            assert.deepStrictEqual(data.preface(slot), prefaces[slot]);
            const to = new Uint8Array(28);
            assert.strictEqual(data.address(slot, to), 28);
            assert.deepStrictEqual(to, address(slot));
          }
          main.begin(1, 3, 5, address(1), 28);
          assert.isUndefined(data.preface(1));
        },
      ),
    );
  });

  it("tell of a connect that took longer than a word can say that it was long, and not that it was not made", () => {
    const { data, main } = both();
    main.begin(0, 3, 5, new Uint8Array(16), 16);
    assert.isUndefined(main.connectMillis(0));
    data.connected(0, 10 * 24 * 3_600_000, 5);
    assert.isAbove(main.connectMillis(0) ?? 0, 30 * 60_000);
  });

  it("tell that one side has sent FIN, and forget it with the connection", () => {
    const { data, main } = both();
    const told = (): boolean => {
      const counts: ByteCounts = { received: 0, sent: 0 };
      main.bringUpToDate(1, { received: 0, sent: 0 }, counts);
      return counts.halfClosed === true;
    };
    main.begin(1, 3, 5, new Uint8Array(16), 16);
    assert.isFalse(told());
    data.counts(1).halfClosed = true;
    assert.isTrue(told());
    main.begin(1, 3, 5, new Uint8Array(16), 16);
    assert.isFalse(told());
  });
});
