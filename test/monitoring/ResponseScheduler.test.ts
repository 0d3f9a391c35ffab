import { describe, expect, it } from "vitest";
import { mostTurns, ResponseScheduler } from "../../src/monitoring/ResponseScheduler.js";

/** A queue whose turns end when it is said. */
const make = () => {
  const tasks: Array<() => void> = [];
  const begun: Array<string> = [];
  const queue = new ResponseScheduler((task) => tasks.push(task));
  return {
    begun,
    queue,
    ask: (name: string) => queue.add(() => begun.push(name)),
    endTurn: () => {
      for (const task of tasks.splice(0)) task();
    },
    waits: () => tasks.length > 0,
  };
};

describe("ResponseScheduler", () => {
  it("begin in the turn in which they were asked for, where nobody arrives", () => {
    const { ask, begun, endTurn, waits } = make();
    ask("a");
    expect(begun).toEqual([]);
    endTurn();
    expect(begun).toEqual(["a"]);
    expect(waits()).toBe(false);
  });

  it("begin one after the other, in their order", () => {
    const { ask, begun, endTurn } = make();
    for (const name of ["a", "b", "c"]) ask(name);
    endTurn();
    expect(begun).toEqual(["a"]);
    endTurn();
    endTurn();
    expect(begun).toEqual(["a", "b", "c"]);
  });

  it("wait while connections arrive, but not for ever", () => {
    const { ask, begun, endTurn, queue } = make();
    for (const name of ["a", "b"]) ask(name);
    for (let turn = 1; turn < mostTurns; turn++) {
      queue.arrived();
      endTurn();
    }
    expect(begun).toEqual([]);
    queue.arrived();
    endTurn();
    expect(begun).toEqual(["a"]);
    queue.arrived();
    endTurn();
    expect(begun).toEqual(["a"]);
    // A turn without a new connection.
    endTurn();
    expect(begun).toEqual(["a", "b"]);
  });
});
