import { assert, describe, it } from "@effect/vitest";
import { FastCheck } from "effect";
import { Deadlines, type Expiring } from "../../src/clock/Deadlines.js";

/** A loop in which time passes when the test says so. */
const scripted = () => {
  let now = 1_000;
  const timers: Array<{ readonly at: number; readonly task: () => void }> = [];
  const afterInput: Array<() => void> = [];
  const faults: Array<unknown> = [];
  const expired: Array<string> = [];
  const deadlines = new Deadlines(
    {
      now: () => now,
      after: (millis, task) => {
        const timer = { at: now + millis, task };
        timers.push(timer);
        return { cancel: () => void timers.splice(timers.indexOf(timer), 1) };
      },
      afterInput: (task) => afterInput.push(task),
    },
    (fault) => faults.push(fault),
  );
  const due = (until: number) => timers.filter(({ at }) => at <= until).sort((a, b) => a.at - b.at)[0];
  const run = (timer: { readonly task: () => void }): void => {
    timers.splice(timers.indexOf(timer as (typeof timers)[number]), 1);
    timer.task();
  };
  return {
    deadlines,
    expired,
    faults,
    timers,
    afterInput,
    add: (name: string, millis: number, expire: () => void = () => {}): Expiring => {
      const expiring: Expiring = {
        since: 0,
        deadline: 0,
        extended: 0,
        earlier: undefined,
        later: undefined,
        expire: () => {
          expired.push(name);
          expire();
        },
      };
      deadlines.add(expiring, millis);
      return expiring;
    },
    /** Time passes, and every timer comes when it is due. */
    pass: (millis: number): void => {
      const end = now + millis;
      for (let timer = due(end); timer !== undefined; timer = due(end)) {
        now = Math.max(now, timer.at);
        run(timer);
      }
      now = end;
    },
    /** Time passes, and nothing runs; then what comes first, and the timers that have become due meanwhile. */
    stall: (millis: number, first: () => void = () => {}): void => {
      now += millis;
      first();
      for (const timer of timers.filter(({ at }) => at <= now)) run(timer);
    },
    /** A round of input was looked at. */
    looked: (): void => {
      for (const task of afterInput.splice(0)) task();
    },
  };
};

describe("Deadlines", () => {
  it("expire in the order in which they are due, and those that were removed never", () => {
    const limits = FastCheck.array(
      FastCheck.record({
        millis: FastCheck.integer({ min: 1, max: 40 }),
        removed: FastCheck.boolean(),
        pause: FastCheck.integer({ min: 0, max: 10 }),
      }),
      { maxLength: 60 },
    );
    FastCheck.assert(
      FastCheck.property(limits, (list) => {
        const { add, deadlines, expired, pass, timers } = scripted();
        let now = 0;
        const added = list.map(({ millis, pause, removed }, index) => {
          const expiring = add(String(index), millis);
          const at = now + millis;
          pass(pause);
          now += pause;
          // One that has expired before is not there to be removed.
          const gone = removed && at > now;
          if (removed) deadlines.remove(expiring);
          return { at, gone, name: String(index) };
        });
        pass(1_000);
        const expected = added.filter(({ gone }) => !gone).sort((a, b) => a.at - b.at);
        assert.deepStrictEqual(
          expired,
          expected.map(({ name }) => name),
        );
        assert.deepStrictEqual(timers, []);
      }),
    );
  });

  it("need one timer, however many there are, and none when there are none", () => {
    const { add, pass, timers } = scripted();
    for (let millis = 100; millis > 0; millis--) {
      add(String(millis), millis);
      assert.strictEqual(timers.length, 1);
    }
    pass(1_000);
    assert.strictEqual(timers.length, 0);
  });

  it("are extended by a stall, and expire only after a round of input was looked at", () => {
    const { add, expired, looked, pass, stall } = scripted();
    add("nearly over", 1_000);
    pass(900);
    add("longer", 5_000);
    // A timer was due at the end of the first; the stall is counted from there.
    stall(700);
    pass(10_000);
    assert.deepStrictEqual(expired, []);
    looked();
    assert.deepStrictEqual(expired, ["nearly over", "longer"]);
  });

  it("are extended by the time of each stall", () => {
    const { add, expired, looked, pass, stall } = scripted();
    add("two seconds", 2_000);
    // Half a second of each is not stalled: the timer is due 250 ms after the one before it.
    for (let i = 0; i < 3; i++) {
      pass(250);
      stall(250 + 2_000);
      looked();
    }
    pass(499);
    assert.deepStrictEqual(expired, []);
    pass(1);
    assert.deepStrictEqual(expired, ["two seconds"]);
  });

  it("are not extended when a timer comes less than half a second late", () => {
    const { add, afterInput, expired, stall } = scripted();
    add("short", 100);
    stall(100 + 499);
    assert.deepStrictEqual(expired, ["short"]);
    assert.deepStrictEqual(afterInput, []);
  });

  it("are extended by 30 seconds in all at most", () => {
    const { add, expired, looked, stall } = scripted();
    const expiring = add("a second", 1_000);
    stall(20_000);
    looked();
    stall(20_000);
    looked();
    assert.strictEqual(expiring.extended, 30_000);
    assert.deepStrictEqual(expired, ["a second"]);
  });

  it("are extended only by as much of a stall as they have seen", () => {
    const { add, pass, stall } = scripted();
    const before = add("before", 5_000);
    pass(100);
    let added: Expiring | undefined;
    // What ran first after the stall has added one, before the late timer came.
    stall(2_000, () => {
      added = add("after", 5_000);
    });
    assert.strictEqual(before.extended, 1_850);
    assert.strictEqual(added?.extended, 0);
  });

  it("that were removed while input was looked at do not expire", () => {
    const { add, deadlines, expired, looked, stall } = scripted();
    const answered = add("answered", 100);
    add("silent", 100);
    stall(60_000);
    deadlines.remove(answered);
    looked();
    assert.deepStrictEqual(expired, ["silent"]);
  });

  it("go on when one throws, and report what it threw", () => {
    const { add, expired, faults, pass } = scripted();
    const defect = new Error("a defect");
    add("throws", 10, () => {
      throw defect;
    });
    add("next", 10);
    pass(10);
    assert.deepStrictEqual(expired, ["throws", "next"]);
    assert.deepStrictEqual(faults, [defect]);
  });

  it("do nothing once they are closed", () => {
    const { add, deadlines, expired, looked, pass, stall } = scripted();
    add("one", 100);
    stall(1_000);
    deadlines.close();
    looked();
    add("two", 100);
    pass(1_000);
    assert.deepStrictEqual(expired, []);
  });
});
