import { FastCheck as fc } from "effect";
import { describe, expect, it } from "vitest";
import * as LabelValue from "../../src/metrics/LabelValue.js";
import { Recorder } from "../../src/metrics/Recorder.js";

describe("the value of a label", () => {
  it("is the text itself where that is short, and bounded and another one for each text where it is long", () => {
    const text = fc.string({ maxLength: 300 });
    fc.assert(
      fc.property(text, text, fc.nat(200), (one, other, more) => {
        const long = one + "x".repeat(more);
        const value = LabelValue.make(long);
        expect(value.length).toBeLessThanOrEqual(LabelValue.longest);
        if (long.length <= LabelValue.longest) expect(value).toBe(long);
        const prefix = "y".repeat(LabelValue.longest);
        if (one !== other) expect(LabelValue.make(prefix + one)).not.toBe(LabelValue.make(prefix + other));
      }),
    );
  });

  it("names a backend whose id or zone is megabytes long", () => {
    const recorder = new Recorder();
    const huge = "z".repeat(1_000_000);
    const subject = { key: "k", id: huge, address: { host: `fe80::1%${huge}`, port: 1 } };
    recorder.track(subject);
    const { address, backend } = recorder.backend(subject).labels;
    expect(address.length).toBeLessThanOrEqual(LabelValue.longest);
    expect(backend.length).toBeLessThanOrEqual(LabelValue.longest);
  });
});
