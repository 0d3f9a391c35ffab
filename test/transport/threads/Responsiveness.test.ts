import { FastCheck as fc } from "effect";
import { assert, describe, it } from "vitest";
import { Responsiveness } from "../../../src/transport/threads/Responsiveness.js";

/** A look at a thread: so many milliseconds after the one before, and whether it has taken turns meanwhile. */
const look = fc.record({
  // In time, a little late, and after a stall.
  after: fc.oneof(
    fc.constant(1_000),
    fc.integer({ min: 1_000, max: 1_499 }),
    fc.integer({ min: 1_500, max: 100_000 }),
  ),
  turned: fc.oneof({ arbitrary: fc.constant(false), weight: 4 }, { arbitrary: fc.constant(true), weight: 1 }),
});

describe("a data thread's responsiveness", () => {
  it("ends once when it has taken no turn for five seconds in which the process ran, and returns with a turn", () => {
    fc.assert(
      fc.property(fc.array(look, { maxLength: 60 }), (looks) => {
        const responsiveness = new Responsiveness();
        let [now, turns] = [1_000_000, 7];
        assert.isUndefined(responsiveness.look(turns, now));
        /** Milliseconds without a turn, of which a stall counts as a second. */
        let [silent, told, times] = [0, false, 0];
        for (const { after, turned } of looks) {
          now += after;
          if (turned) turns += 3;
          const found = responsiveness.look(turns, now);
          if (turned) {
            assert.strictEqual(found, told ? "answers" : undefined);
            if (told) assert.strictEqual(responsiveness.lastSilence, silent);
            [silent, told] = [0, false];
          } else {
            silent += after < 1_500 ? after : 1_000;
            assert.strictEqual(found, silent >= 5_000 && !told ? "silent" : undefined);
            if (found === "silent") [told, times] = [true, times + 1];
          }
          assert.strictEqual(responsiveness.silentMillis, silent);
          assert.strictEqual(responsiveness.responsive, !told);
          assert.strictEqual(responsiveness.silences, times);
        }
      }),
    );
  });

  it("does not end with a process that stood still for an hour", () => {
    const responsiveness = new Responsiveness();
    responsiveness.look(1, 0);
    assert.isUndefined(responsiveness.look(1, 3_600_000));
    assert.isUndefined(responsiveness.look(2, 3_601_000));
    assert.isTrue(responsiveness.responsive);
  });
});
