import { FastCheck as fc } from "effect";
import { describe, expect, it } from "vitest";
import { AcceptQueueTimeout, patienceMillis } from "../../src/transport/AcceptQueueTimeout.js";

/** Looks at a full listener, each so long after the one before, when so many had left since. */
const looks = fc.array(fc.record({ after: fc.integer({ min: 1, max: 1_000 }), leave: fc.boolean() }), {
  maxLength: 200,
});

describe("the timeout of the queue", () => {
  it("refuses nobody before nobody has left for ten seconds", () => {
    fc.assert(
      fc.property(looks, (times) => {
        const timeout = new AcceptQueueTimeout();
        let now = 0;
        let left = 0;
        let since: number | undefined;
        for (const { after, leave } of times) {
          now += after;
          if (leave) left += 1;
          if (leave || since === undefined) since = now;
          const refused = timeout.full(now, left);
          if (now - since < patienceMillis) expect(refused).toBe(0);
          else {
            expect(refused).toBe(1);
            return;
          }
        }
      }),
    );
  });

  it("refuses ever more, up to 64, though some leave in between: those whom the refused ones have taken along", () => {
    const timeout = new AcceptQueueTimeout();
    const refused: Array<number> = [];
    for (let second = 0; second <= 20; second++) {
      refused.push(timeout.full(second * 1_000, 100 * refused.filter((count) => count > 0).length));
    }
    // Those who left are noticed at the next look, so the look after that is the next to refuse.
    expect(refused.slice(0, 10)).toEqual(Array<number>(10).fill(0));
    expect(refused.slice(10).filter((count) => count > 0)).toEqual([1, 2, 4, 8, 16, 32]);
  });

  it("is forgotten once there was a place for ten seconds", () => {
    const timeout = new AcceptQueueTimeout();
    for (let second = 0; second < 20; second++) timeout.full(second * 1_000, 0);
    const again = Array.from({ length: 11 }, (_, second) => timeout.full(40_000 + second * 1_000, 0));
    expect(again).toEqual([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
  });
});
