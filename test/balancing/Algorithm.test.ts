import { assert, describe, it } from "vitest";
import { type Algorithm, choose, InvalidChoice } from "../../src/balancing/Algorithm.js";
import { algorithmNames, algorithms } from "../../src/balancing/Algorithms.js";
import * as Load from "../../src/balancing/Load.js";
import { changed, type Group, groupOf } from "../support/Members.js";

const stubborn = (slot: number): Algorithm<undefined> => ({
  name: "stubborn",
  initial: undefined,
  choose: () => ({ slot, state: undefined }),
});

const refused = ({ load, members }: Group, slot: number): InvalidChoice => {
  try {
    choose(stubborn(slot), members, load, undefined, { host: "10.9.8.7" });
  } catch (error) {
    if (error instanceof InvalidChoice) return error;
  }
  return assert.fail("the choice was served");
};

describe("a choice", () => {
  const group = groupOf(["a", "b"]);

  it("of a member that is not open is a defect that names the algorithm and the member", () => {
    const cases: ReadonlyArray<readonly [InvalidChoice["reason"], Group, RegExp]> = [
      ["not-eligible", changed(group, 1, { eligible: false }), /stubborn chose b, which is not eligible/],
      ["at-its-limit", changed(group, 1, { limit: 2, connections: 2 }), /stubborn chose b, .* limit/],
      ["passed-over", { ...group, load: Load.set(group.load, 1, 0, false) }, /stubborn chose b, /],
    ];
    for (const [reason, some, message] of cases) {
      const error = refused(some, 1);
      assert.strictEqual(error.reason, reason);
      assert.match(error.message, message);
    }
  });

  it("of a slot without a member is one, too", () => {
    for (const slot of [-1, 2, 4_000, Number.NaN, 0.5]) {
      assert.strictEqual(refused(group, slot).reason, "no-member", String(slot));
    }
  });

  it("of an open member is served", () => {
    const { load, members } = group;
    assert.strictEqual(choose(stubborn(1), members, load, undefined, { host: "10.9.8.7" })?.slot, 1);
  });
});

describe("the algorithms", () => {
  it("stand in the table by the names that they have", () => {
    assert.deepStrictEqual(
      algorithmNames.map((name): string => algorithms[name].name),
      [...algorithmNames],
    );
  });

  it.each(algorithmNames)("have a state that can be handed to another process: %s", (name) => {
    const algorithm: Algorithm = algorithms[name];
    const { load, members } = changed(groupOf(["a", "b", "c"]), 1, { weight: 3 });
    let [here, there] = [algorithm.initial, structuredClone(algorithm.initial)];
    for (let n = 0; n < 10; n++) {
      const client = { host: `10.0.0.${n}` };
      const one = choose(algorithm, members, load, here, client);
      const other = choose(algorithm, members, load, there, client);
      assert.deepStrictEqual(other, one);
      here = one?.state;
      there = structuredClone(other?.state);
    }
  });
});
