import { assert, describe, it } from "@effect/vitest";
import { CallbackFaults } from "../../../src/transport/linux/CallbackFaults.js";
import { type Source, type Task, TurnScheduler } from "../../../src/transport/linux/TurnScheduler.js";

/** A scheduler on a loop and a clock that are turned by hand, and what it did, in order. */
const scheduled = () => {
  const done: Array<string> = [];
  const reported: Array<unknown> = [];
  const soon: Array<() => void> = [];
  let now = 0;
  const faults = new CallbackFaults((fault) => reported.push(fault));
  const scheduler = new TurnScheduler(
    {
      watch: () => assert.fail("nothing is watched here"),
      after: () => assert.fail("no timer is set here"),
      soon: (task) => soon.push(task),
      now: () => now,
    },
    faults,
  );
  /** A source with so much to do; each takes a while, in milliseconds. */
  const source = (name: string, amount: () => number, millis = 0.01): Source => {
    const made: Source = {
      pending: false,
      poll: () => {
        // The time of a turn without bulk counts from here.
        if (scheduler.spent()) return true;
        for (let left = amount(); left > 0; left--) {
          done.push(name);
          now += millis;
          if (scheduler.spent()) return left > 1;
        }
        return false;
      },
    };
    scheduler.register(made);
    return made;
  };
  /** A task of so many slices. */
  const task = (name: string, slices: number, millis = 0.3, meanwhile = () => {}): Task => {
    let left = slices;
    const made: Task = {
      proceed: () => {
        done.push(name);
        now += millis;
        left -= 1;
        meanwhile();
        if (left > 0) scheduler.later(made);
      },
      onFault: () => done.push(`${name} ended`),
    };
    return made;
  };
  return {
    done,
    faults,
    reported,
    scheduler,
    source,
    task,
    pass: (millis: number) => {
      now += millis;
    },
    /** Runs what was asked of the loop; answers how many turns that were. */
    turn: (): number => {
      const due = soon.splice(0);
      for (const run of due) run();
      return due.length;
    },
  };
};

describe("TurnScheduler", () => {
  it("does what has come before every slice of bulk", () => {
    const { done, scheduler, source, task, turn } = scheduled();
    let pings = 0;
    const small = source("ping", () => {
      const all = pings;
      pings = 0;
      return all;
    });
    const meanwhile = () => {
      pings = 1;
    };
    scheduler.later(task("bulk a", 2, 0.1, meanwhile));
    scheduler.later(task("bulk b", 2, 0.1, meanwhile));
    pings = 2;
    scheduler.request(small);
    turn();
    assert.deepStrictEqual(done, [
      ...["ping", "ping", "bulk a"],
      ...["ping", "bulk b"],
      ...["ping", "bulk a"],
      ...["ping", "bulk b", "ping"],
    ]);
  });

  it("ends a turn when its millisecond is over, and goes on where it was in the next", () => {
    const { done, scheduler, task, turn } = scheduled();
    for (const name of ["a", "b", "c"]) scheduler.later(task(name, 3));
    turn();
    assert.deepStrictEqual(done, ["a", "b", "c", "a"]);
    turn();
    assert.deepStrictEqual(done, ["a", "b", "c", "a", "b", "c", "a", "b"]);
    turn();
    assert.strictEqual(done.length, 9);
    assert.strictEqual(turn(), 0);
  });

  it("spends the time of one turn once, however many have something to do", () => {
    const { done, scheduler, source, task, turn } = scheduled();
    const sources = [source("a", () => 1_000), source("b", () => 1_000)];
    for (let i = 0; i < 100; i++) scheduler.later(task("bulk", 1));
    for (const one of sources) scheduler.request(one);
    turn();
    const count = (name: string) => done.filter((each) => each === name).length;
    assert.strictEqual(count("a"), 100);
    assert.isAtMost(count("b"), 1);
    assert.strictEqual(count("bulk"), 1);
  });

  it("comes to bulk in every turn, though there is always more input", () => {
    const { done, scheduler, source, task, turn } = scheduled();
    const busy = source("input", () => 1_000);
    scheduler.later(task("bulk", 3));
    scheduler.request(busy);
    for (let i = 0; i < 3; i++) turn();
    assert.strictEqual(done.filter((each) => each === "bulk").length, 3);
  });

  it("goes on with input that a turn has left over, bulk or not", () => {
    const { done, scheduler, source, turn } = scheduled();
    let left = 250;
    const one = source("input", () => {
      const all = left;
      left = Math.max(0, left - 100);
      return all;
    });
    scheduler.wake(one);
    assert.strictEqual(done.length, 100);
    turn();
    turn();
    assert.strictEqual(done.length, 250);
    assert.strictEqual(turn(), 0);
  });

  it("polls in the same turn what a task or another source has begun", () => {
    const { done, scheduler, source, task } = scheduled();
    let begun = 0;
    const ring = source("ring", () => {
      const all = begun;
      begun = 0;
      return all;
    });
    const begin = () => {
      begun += 1;
      scheduler.request(ring);
    };
    const epoll: Source = {
      pending: false,
      poll: () => {
        if (done.length === 0) scheduler.later(task("bulk", 1, 0.3, begin));
        done.push("epoll");
        return false;
      },
    };
    scheduler.register(epoll);
    scheduler.wake(epoll);
    assert.deepStrictEqual(done, ["epoll", "bulk", "ring", "epoll"]);
  });

  it("takes one turn where one was asked for and a source wakes before it comes", () => {
    const { done, scheduler, source, task, turn } = scheduled();
    const one = source("input", () => 1);
    scheduler.later(task("bulk", 1));
    scheduler.wake(one);
    assert.deepStrictEqual(done, []);
    assert.strictEqual(turn(), 1);
    assert.deepStrictEqual(done.slice(0, 2), ["input", "bulk"]);
  });

  it("handles all input that is there before what is to come after it, in as many turns as that takes", () => {
    const { done, pass, scheduler, task, turn } = scheduled();
    let left = 250;
    scheduler.register({
      pending: false,
      poll: () => {
        for (; left > 0 && !scheduler.spent(); left--) {
          done.push("input");
          pass(0.01);
        }
        return left > 0;
      },
    });
    // Bulk goes on meanwhile, and makes no difference.
    scheduler.later(task("bulk", 1_000, 0.1));
    scheduler.afterInput(() => done.push("after"));
    for (let i = 0; i < 10; i++) turn();
    assert.strictEqual(done.slice(0, done.indexOf("after")).filter((each) => each === "input").length, 250);
    assert.strictEqual(done.filter((each) => each === "after").length, 1);
  });

  it("does not wait for the end of input for ever, and catches what then throws", () => {
    const { done, reported, scheduler, source, turn } = scheduled();
    source("endless", () => 1_000);
    const defect = new Error("a defect");
    scheduler.afterInput(() => {
      throw defect;
    });
    scheduler.afterInput(() => done.push("after"));
    for (let i = 0; i < 100; i++) turn();
    assert.deepStrictEqual(
      done.filter((each) => each === "after"),
      ["after"],
    );
    assert.deepStrictEqual(reported, [defect]);
  });

  it("does each task only as often as it asks for", () => {
    const { done, scheduler, task, turn } = scheduled();
    scheduler.later(task("once", 1));
    for (let i = 0; i < 4; i++) {
      scheduler.later(task("other", 1));
      turn();
    }
    assert.strictEqual(done.filter((each) => each === "once").length, 1);
  });

  it("ends what throws, records it, and goes on with the others", () => {
    const { done, faults, reported, scheduler, task, turn } = scheduled();
    const defect = new Error("a defect");
    scheduler.later(
      task("faulty", 1, 0.1, () => {
        throw defect;
      }),
    );
    scheduler.later(task("other", 1));
    turn();
    assert.deepStrictEqual(done, ["faulty", "faulty ended", "other"]);
    assert.deepStrictEqual(reported, [defect]);
    assert.strictEqual(faults.count, 1);
  });

  it("does nothing any more once it is closed", () => {
    const { done, scheduler, source, task, turn } = scheduled();
    const one = source("input", () => 1);
    scheduler.later(task("bulk", 1));
    scheduler.close();
    turn();
    scheduler.wake(one);
    scheduler.request(one);
    turn();
    assert.deepStrictEqual(done, []);
  });
});
