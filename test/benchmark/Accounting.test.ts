import { describe, expect, it } from "vitest";
import {
  cpuSeconds,
  cpuShares,
  cpuTimes,
  machineShares,
  parseMachine,
  parseResident,
  parseSchedstat,
  parseStat,
} from "../bench/Accounting.js";

const linux = process.platform === "linux";

describe("the accounting of processes", () => {
  it("reads what the kernel writes", () => {
    expect(parseSchedstat("123456789 42 7\n")).toBe(123_456_789);
    // 7 and 5 ticks of 10 ms; a name may look like the fields after it.
    expect(parseStat("12 (a) b (c) S 1 12 12 0 -1 4194560 100 0 0 0 7 5 0 0 20 0 1 0 300")).toBe(120_000_000);
    expect(parseResident("Name:\tx\nVmRSS:\t    2048 kB\n")).toBe(2_097_152);
    expect(parseResident("Name:\tkthreadd\n")).toBe(0);
  });

  it("adds up all threads, those that came meanwhile too", () => {
    const before = { threads: new Map([[1, 1e9]]), dataThreads: new Set<number>(), processes: 0 };
    const after = {
      threads: new Map([
        [1, 3e9],
        [2, 5e8],
      ]),
      dataThreads: new Set<number>(),
      processes: 0,
    };
    expect(cpuSeconds(before, after)).toBe(2.5);
  });

  it("takes the process's own count where a thread ended", () => {
    const before = {
      threads: new Map([
        [1, 1e9],
        [2, 1e9],
      ]),
      dataThreads: new Set<number>(),
      processes: 2e9,
    };
    const after = { threads: new Map([[1, 2e9]]), dataThreads: new Set<number>(), processes: 6e9 };
    expect(cpuSeconds(before, after)).toBe(4);
  });

  it("tells the main thread's time from that of data threads and of the runtime", () => {
    const times = (main: number, one: number, other: number, runtime: number) => ({
      threads: new Map([
        [10, main * 1e9],
        [11, one * 1e9],
        [12, other * 1e9],
        [13, runtime * 1e9],
      ]),
      dataThreads: new Set([11, 12]),
      processes: 0,
    });
    expect(cpuShares(10, times(1, 1, 1, 1), times(2, 3, 4, 1.5))).toEqual({ main: 1, data: 5, other: 0.5 });
    const none = { ...times(1, 1, 1, 1), dataThreads: new Set<number>() };
    expect(cpuShares(10, none, none)).toBeUndefined();
  });

  it("tells busy time from time that the host took", () => {
    const before = parseMachine("cpu  0 0 0 0 0 0 0 0 0 0\ncpu0 9 9\n");
    const after = parseMachine("cpu  40 0 20 30 0 0 0 10 40 0\n");
    expect(machineShares(before, after)).toEqual({ busy: 0.6, stolen: 0.1 });
  });

  it.runIf(linux)("sees the time that this process spends", () => {
    const before = cpuTimes(process.pid);
    const start = process.cpuUsage();
    const spent = () => process.cpuUsage(start).user + process.cpuUsage(start).system;
    while (spent() < 200_000);
    expect(cpuSeconds(before, cpuTimes(process.pid))).toBeGreaterThan(0.1);
  });
});
