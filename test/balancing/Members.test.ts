import { FastCheck as fc } from "effect";
import { assert, describe, it } from "vitest";
import * as Members from "../../src/balancing/Members.js";
import { changed, type Group, groupOf, joined, left } from "../support/Members.js";

/** Who is eligible, where and with which weight: what the fingerprint stands for. */
const eligibleIn = ({ members }: Group): string =>
  Members.toArray(members)
    .filter(({ eligible }) => eligible)
    .map(({ key, slot, weight }) => `${slot} ${key} ${weight}`)
    .join();

const step = fc.oneof(
  fc.record({ _tag: fc.constant("join" as const), key: fc.constantFrom("a", "b", "c", "d", "e") }),
  fc.record({ _tag: fc.constant("leave" as const), slot: fc.nat(6) }),
  fc.record({
    _tag: fc.constant("change" as const),
    slot: fc.nat(6),
    values: fc.record(
      {
        eligible: fc.boolean(),
        weight: fc.integer({ min: 1, max: 2 }),
        limit: fc.nat(3),
        connections: fc.nat(3),
      },
      { requiredKeys: [] },
    ),
  }),
);

describe("Members", () => {
  it("have the same fingerprint exactly while the same ones are eligible in the same slots with the same weights", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40, size: "max" }), (steps) => {
        let group = groupOf(["a", "b", "c"]);
        const seen = new Map([[eligibleIn(group), group.members.fingerprint]]);
        for (const event of steps) {
          if (event._tag === "join") group = joined(group, event.key);
          else if (event._tag === "leave") group = left(group, event.slot);
          else group = changed(group, event.slot, event.values);
          const { eligible, fingerprint } = group.members;
          const now = eligibleIn(group);
          const before = seen.get(now);
          if (before !== undefined) assert.strictEqual(fingerprint, before, now);
          seen.set(now, fingerprint);
          assert.strictEqual(new Set(seen.values()).size, seen.size, "two sets have one fingerprint");
          assert.strictEqual(eligible, Members.toArray(group.members).filter((some) => some.eligible).length);
        }
      }),
    );
  });

  it("are the same value where a slot is vacant, or nothing changes", () => {
    const { members } = groupOf(["a"]);
    const [a] = Members.toArray(members);
    if (a === undefined) return assert.fail();
    assert.strictEqual(Members.replace(members, a), members);
    assert.strictEqual(Members.replace(members, { ...a, slot: 9 }), members);
    assert.strictEqual(Members.remove(members, 9), members);
    assert.isUndefined(Members.get(members, -1));
  });
});
