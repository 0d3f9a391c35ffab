import { FastCheck as fc } from "effect";
import { describe, expect, it } from "vitest";
import * as RefusedClients from "../../src/monitoring/RefusedClients.js";

/** Looks at these totals, each so many milliseconds after the one before. */
const look = (looks: ReadonlyArray<readonly [after: number, total: number]>) => {
  let now = 0;
  let state = RefusedClients.none;
  const transitions: Array<readonly [now: number, transition: RefusedClients.Transition]> = [];
  for (const [after, total] of looks) {
    now += after;
    const [next, happened] = RefusedClients.observe(state, new Map([["no-backend", total]]), now);
    state = next;
    for (const turn of happened) transitions.push([now, turn]);
  }
  return { state, transitions };
};

describe("refusals", () => {
  it("begin with the first and end ten seconds after the last, with how many there were", () => {
    const { state, transitions } = look([
      [500, 0],
      [500, 3],
      [500, 3],
      [9_000, 7],
      [9_999, 7],
      [1, 7],
      [500, 7],
    ]);
    expect(transitions).toEqual([
      [1_000, { kind: "refusals-began", reason: "no-backend" }],
      [20_500, { kind: "refusals-ended", reason: "no-backend", count: 7, seconds: 10 }],
    ]);
    expect(state.last).toBe(10_500);
  });

  it("are apart by reason", () => {
    const [first] = RefusedClients.observe(RefusedClients.none, new Map([["no-backend", 1]]), 0);
    const [, transitions] = RefusedClients.observe(
      first,
      new Map([
        ["no-backend", 2],
        ["connect-failed", 1],
      ]),
      500,
    );
    expect(transitions).toEqual([{ kind: "refusals-began", reason: "connect-failed" }]);
  });

  it("are told all of, in runs that do not overlap", () => {
    const looks = fc.array(fc.tuple(fc.integer({ min: 1, max: 15_000 }), fc.nat({ max: 3 })), {
      maxLength: 50,
    });
    fc.assert(
      fc.property(looks, (steps) => {
        let total = 0;
        const seen = steps.map(([after, more]) => {
          total += more;
          return [after, total] as const;
        });
        const { transitions } = look([...seen, [RefusedClients.quietMillis, total]]);
        const kinds = transitions.map(([, { kind }]) => kind);
        expect(kinds).toEqual(kinds.map((_, n) => (n % 2 === 0 ? "refusals-began" : "refusals-ended")));
        expect(kinds.length % 2).toBe(0);
        const counted = transitions.reduce(
          (sum, [, turn]) => sum + (turn.kind === "refusals-ended" ? turn.count : 0),
          0,
        );
        expect(counted).toBe(total);
      }),
    );
  });
});
