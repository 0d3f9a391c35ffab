import { FastCheck as fc } from "effect";
import { describe, expect, it } from "vitest";
import * as Format from "../../src/page/Format.js";

describe("figures", () => {
  it.each([
    [0, "0 B"],
    [999, "999 B"],
    [1000, "1.00 kB"],
    [999_499, "999 kB"],
    [999_500, "1.00 MB"],
    [12_345_678, "12.3 MB"],
    [5e18, "5000 PB"],
  ])("%d bytes are %s", (value, text) => {
    expect(Format.bytes(value)).toBe(text);
  });

  it("of bytes are within half a per cent of what they stand for, and short", () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 1e15 }), (value) => {
        const [figure = "", unit = ""] = Format.bytes(value).split(" ");
        const scale = 1000 ** ["B", "kB", "MB", "GB", "TB", "PB"].indexOf(unit);
        expect(Math.abs(Number(figure) * scale - value)).toBeLessThanOrEqual(value * 0.005 + 0.5);
        expect(figure.length).toBeLessThanOrEqual(4);
      }),
    );
  });

  it.each([
    [undefined, "–"],
    [0, "0"],
    [0.25, "0.25"],
    [12.34, "12.3"],
    [1234.5, "1,235"],
  ])("%s per second is %s", (value, text) => {
    expect(Format.perSecond(value)).toBe(text);
  });

  it("say so where nothing is known", () => {
    expect([
      Format.millis(null),
      Format.share(undefined),
      Format.age(null, 0),
      Format.throughput(undefined),
    ]).toEqual(["–", "–", "–", "–"]);
  });
});

describe("times", () => {
  it.each([
    [-5, "0 s"],
    [59_999, "59 s"],
    [60_000, "1 min 0 s"],
    [3_600_000, "1 h 0 min"],
    [90_061_000, "1 d 1 h"],
  ])("%d ms are %s", (value, text) => {
    expect(Format.duration(value)).toBe(text);
  });

  it("are ages against the balancer's own clock", () => {
    expect(Format.age("2026-01-01T00:00:00.000Z", Date.parse("2026-01-01T00:02:05.900Z"))).toBe("2 min 5 s");
  });
});
