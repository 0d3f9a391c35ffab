import { describe, expect, it } from "vitest";
import { judged, noise, rows, verdict } from "../bench/Judgement.js";
import { doubts } from "../bench/Machine.js";
import { svg } from "../bench/Picture.js";
import { markdown } from "../bench/Report.js";

const series = (peer: string, ...cpu: ReadonlyArray<number | undefined>) => ({
  peer,
  rounds: cpu.map((value) => (value === undefined ? undefined : { keepaliveCpu: value })),
});

const peers = ["haproxy", "linux", "node"];
const titles = new Map([
  ["haproxy", "HAProxy"],
  ["linux", "ours & <linux>"],
  ["node", "ours, node"],
]);

// HAProxy doubles from round to round, as on a machine with other work: only the pairs are steady.
const table = rows(
  [series("haproxy", 10, 20, 40), series("linux", 10, 20, 40), series("node", 20, undefined, 80)],
  peers,
);

describe("the judgement", () => {
  it("compares round by round", () => {
    const ratios = table[0]?.cells.map(({ peer, ratio }) => [peer, ratio?.median]);
    expect(ratios).toEqual([
      ["haproxy", undefined],
      ["linux", 1],
      ["node", 2],
    ]);
  });

  it("says of each target whether it was met", () => {
    const found = (peer: string) =>
      judged(table).find(({ target }) => target.peer === peer && target.metric === "keepaliveCpu");
    expect(found("linux")?.verdict).toBe("met");
    expect(found("node")?.verdict).toBe("missed");
    expect(judged(table).find(({ target }) => target.metric === "bulkCpu")?.verdict).toBe("not measured");
  });

  it("does not decide where the target is within the spread", () => {
    expect(verdict({ low: 0.9, median: 1, high: 1.1 }, 1.05)).toBe("unclear");
    expect(verdict({ low: 0.9, median: 1, high: 1.05 }, 1.05)).toBe("met");
    expect(verdict({ low: 1.06, median: 1.1, high: 1.2 }, 1.05)).toBe("missed");
    expect(verdict(undefined, 1.05)).toBe("not measured");
  });

  it("asks for at least so much where more is better", () => {
    expect(verdict({ low: 0.9, median: 1, high: 1.1 }, 1, true)).toBe("unclear");
    expect(verdict({ low: 1, median: 1.1, high: 1.2 }, 1, true)).toBe("met");
    expect(verdict({ low: 0.8, median: 0.9, high: 0.99 }, 1, true)).toBe("missed");
    const faster = rows(
      [
        { peer: "haproxy", rounds: [{ mixedRate: 1 }] },
        { peer: "linux", rounds: [{ mixedRate: 2 }] },
      ],
      peers,
    );
    const found = judged(faster).find(({ target }) => target.metric === "mixedRate");
    expect(found?.verdict).toBe("met");
  });

  it("warns of ratios that spread too much, and only of those", () => {
    const noisy = rows([series("haproxy", 10, 10, 10), series("linux", 10, 11, 20)], peers);
    expect(noise(table)).toEqual([]);
    expect(noise(noisy)).toHaveLength(1);
    expect(noise(noisy)[0]).toContain("linux");
  });

  it("warns of a machine that had other work", () => {
    expect(doubts({ load: 3, processors: 2 }, 0.1)).toHaveLength(2);
    expect(doubts({ load: 0.1, processors: 2 }, 0)).toEqual([]);
  });
});

describe("the report", () => {
  const machine = {
    processors: 2,
    model: "a processor",
    memoryGiB: 8,
    kernel: "6.1",
    descriptors: "1024 / 4096",
    load: 0,
    date: "2026-01-01",
    versions: { haproxy: "2.6" },
  };
  const report = {
    machine,
    options: { rounds: 3, seconds: 1, threads: 0 },
    titles,
    rows: table,
    judged: judged(table),
    notes: ["node is out"],
  };

  it("has every peer's median and spread, its ratio, the machine, and what was left out", () => {
    const text = markdown(report);
    expect(text).toMatch(/CPU per keep-alive request \(µs\) +\| +20\.00 \(15\.00–30\.00\)/);
    expect(text).toMatch(
      /\| CPU per keep-alive request +\| +1\.00 \(1\.00–1\.00\) \| +2\.00 \(2\.00–2\.00\) \|/,
    );
    for (const part of [
      "haproxy 2.6",
      "2 processors",
      "1024 / 4096",
      "node is out",
      "**met**",
      "**missed**",
    ]) {
      expect(text).toContain(part);
    }
  });

  it("draws whatever a peer is called, and says which colours a dark page needs", () => {
    const picture = svg(table, titles);
    expect(picture).toContain("ours &#38; &#60;linux&#62;</text>");
    expect(picture).toContain("prefers-color-scheme: dark");
    expect(picture).toContain("2.00</text>");
    expect(svg([], titles)).toContain("</svg>");
  });
});
