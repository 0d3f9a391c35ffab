import { FastCheck as fc } from "effect";
import { describe, expect, it } from "vitest";
import * as Happenings from "../../src/page/Happenings.js";

const up = (id: number, second: number) =>
  Happenings.happening({ id, at: new Date(second * 1000).toISOString(), kind: "up", backend: `b${id}` });

describe("happenings", () => {
  it("that are told again are there once, newest first", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 50 }), { maxLength: 100 }), (told) => {
        const all = told.reduce<ReadonlyArray<Happenings.Happening>>(
          (list, id) => Happenings.append(list, up(id, id)),
          [],
        );
        expect(all.map(({ backend }) => backend)).toEqual(
          [...new Set(told)].sort((left, right) => right - left).map((id) => `b${id}`),
        );
      }),
    );
  });

  it("of a balancer begun anew are others, though it counts from 1 again", () => {
    expect(Happenings.append([up(1, 10)], up(1, 20))).toHaveLength(2);
  });

  it("name a backend once that is called by its address", () => {
    const told = (backend: string) =>
      Happenings.text(Happenings.happening({ id: 1, at: "2026-01-01T00:00:00Z", kind: "up", backend }));
    expect(told("10.0.0.1:80 (10.0.0.1:80)")).toBe("10.0.0.1:80 is up");
    expect(told("web-1 (10.0.0.1:80)")).toBe("web-1 (10.0.0.1:80) is up");
  });

  it("are bounded", () => {
    let all: ReadonlyArray<Happenings.Happening> = [];
    for (let id = 0; id < 500; id++) all = Happenings.append(all, up(id, id));
    expect(all).toHaveLength(Happenings.kept);
    expect(all[0]?.backend).toBe("b499");
  });

  it("count refusals that follow each other as one, and later ones as another", () => {
    const first = Happenings.refused(Happenings.refused([], 1, 0), 4, 9_000);
    expect(first.map(Happenings.text)).toEqual(["5 connections were refused: no backend could take them"]);
    const second = Happenings.refused(first, 1, 60_000);
    expect(second.map(Happenings.text)[0]).toBe("1 connection was refused: no backend could take it");
    expect(Happenings.refused(second, 0, 61_000)).toBe(second);
  });

  it("are announced a few at a time", () => {
    expect(Happenings.announcement([1, 2, 3, 4, 5].map((id) => up(id, id)))).toBe(
      "b1 is up. b2 is up. b3 is up. and 2 more",
    );
  });
});
