import { FastCheck as fc } from "effect";
import { describe, expect, it } from "vitest";
import * as Events from "../../src/page/Events.js";

const up = (id: number, second: number) =>
  Events.entry({ id, at: new Date(second * 1000).toISOString(), kind: "up", backend: `b${id}` });

describe("events", () => {
  it("that come again are there once, the last that came first", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 50 }), { maxLength: 100 }), (ids) => {
        const all = ids.reduce<ReadonlyArray<Events.Entry>>(
          (list, id) => Events.append(list, up(id, id)),
          [],
        );
        expect(all.map(({ id }) => id)).toEqual([...new Set(ids)].reverse());
      }),
    );
  });

  it("of a balancer that was started anew are others, though it counts from 1 again", () => {
    expect(Events.append([up(1, 10)], up(1, 20))).toHaveLength(2);
  });

  it("stand in the order in which they came when the balancer's clock is set back", () => {
    const all = [up(1, 4_000), up(2, 400), up(3, 401)].reduce<ReadonlyArray<Events.Entry>>(Events.append, []);
    expect(all.map(({ id }) => id)).toEqual([3, 2, 1]);
  });

  it("name a backend once that is called by its address", () => {
    const text = (backend: string) =>
      Events.text(Events.entry({ id: 1, at: "2026-01-01T00:00:00Z", kind: "up", backend }));
    expect(text("10.0.0.1:80 (10.0.0.1:80)")).toBe("10.0.0.1:80 is up");
    expect(text("web-1 (10.0.0.1:80)")).toBe("web-1 (10.0.0.1:80) is up");
  });

  it("are bounded", () => {
    let all: ReadonlyArray<Events.Entry> = [];
    for (let id = 0; id < 500; id++) all = Events.append(all, up(id, id));
    expect(all).toHaveLength(Events.kept);
    expect(all[0]?.backend).toBe("b499");
  });

  it.each([
    [
      { kind: "cut", backend: "web-1 (10.0.0.1:80)", detail: "connection 7 by 192.0.2.1" },
      "web-1 (10.0.0.1:80): cut: connection 7 by 192.0.2.1",
    ],
    [{ kind: "refusals-began" }, "connections are refused: no backend is healthy"],
    [
      { kind: "refusals-ended", count: 1234, seconds: 65 },
      "1,234 connections were refused in 1 min 5 s, none since: no backend is healthy",
    ],
    [
      { kind: "refusals-ended", count: 1, seconds: 0 },
      "1 connection was refused in 0 s, none since: no backend is healthy",
    ],
  ] as const)("of refusals: %j", (event, text) => {
    expect(
      Events.text(Events.entry({ id: 1, at: "2026-01-01T00:00:00Z", reason: "no-backend", ...event })),
    ).toBe(text);
  });

  it("are announced a few at a time", () => {
    expect(Events.announcement([1, 2, 3, 4, 5].map((id) => up(id, id)))).toBe(
      "b1 is up. b2 is up. b3 is up. and 2 more",
    );
  });
});
