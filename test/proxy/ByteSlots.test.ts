import { FastCheck } from "effect";
import { describe, expect, it } from "vitest";
import { type ByteSlot, ByteSlots } from "../../src/proxy/ByteSlots.js";

describe("ByteSlots", () => {
  it("keep the counts of each connection apart, through thousands that come and go", () => {
    // What is done, of the connection at an index of those that are open: it counts bytes, or it ends.
    const step = FastCheck.record({
      received: FastCheck.nat({ max: 2 ** 40 }),
      sent: FastCheck.nat({ max: 2 ** 40 }),
      index: FastCheck.nat(),
      ends: FastCheck.boolean(),
    });
    FastCheck.assert(
      FastCheck.property(FastCheck.array(step, { maxLength: 300 }), (steps) => {
        const slots = new ByteSlots();
        const open: Array<{ slot: ByteSlot; received: number; sent: number }> = [];
        // More than a page from the start.
        for (let n = 0; n < 1_500; n++) open.push({ slot: slots.acquire(), received: 0, sent: 0 });
        for (const { ends, index, received, sent } of steps) {
          const connection = open[index % open.length];
          if (connection === undefined) throw new Error("some are always open");
          if (ends) {
            slots.release(connection.slot);
            open.splice(open.indexOf(connection), 1, { slot: slots.acquire(), received: 0, sent: 0 });
          } else {
            connection.slot.received += received;
            connection.slot.sent += sent;
            connection.received += received;
            connection.sent += sent;
          }
        }
        expect(open.map(({ slot }) => [slot.received, slot.sent])).toEqual(
          open.map(({ received, sent }) => [received, sent]),
        );
      }),
      { numRuns: 20 },
    );
  });

  it("use a slot again before they make another", () => {
    const slots = new ByteSlots();
    const first = slots.acquire();
    first.received = 1;
    slots.release(first);
    const second = slots.acquire();
    expect(second).toBe(first);
    expect([second.received, second.sent]).toEqual([0, 0]);
  });
});
