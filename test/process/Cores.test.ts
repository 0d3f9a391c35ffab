import { describe, expect, it } from "vitest";
import * as Cores from "../../src/process/Cores.js";

/** A system with these files and no others. */
const files =
  (texts: Readonly<Record<string, string>>): Cores.Read =>
  (path) =>
    texts[path];

const version2 = (own: string, parent: string, top?: string) =>
  files({
    "/proc/self/cgroup": "0::/system.slice/load-balancer.service\n",
    "/sys/fs/cgroup/system.slice/load-balancer.service/cpu.max": own,
    "/sys/fs/cgroup/system.slice/cpu.max": parent,
    ...(top === undefined ? {} : { "/sys/fs/cgroup/cpu.max": top }),
  });

const version1 = (mount: string, quota: string) =>
  files({
    "/proc/self/cgroup": "5:memory:/docker/1\n4:cpu,cpuacct:/docker/1\n0::/\n",
    [`/sys/fs/cgroup/${mount}/cpu.cfs_quota_us`]: quota,
    [`/sys/fs/cgroup/${mount}/cpu.cfs_period_us`]: "100000\n",
  });

describe("the processors of this process", () => {
  it.each([
    ["all that it may run on, where there is no quota", 4, version2("max 100000\n", "max 100000\n"), 4],
    ["no more than its group's quota", 4, version2("200000 100000\n", "max 100000\n"), 2],
    [
      "no more than the quota of a group that its own is in",
      4,
      version2("max 100000\n", "100000 50000\n"),
      2,
    ],
    [
      "no more than the quota of the topmost group",
      8,
      version2("max 100000\n", "max 100000\n", "300000 100000"),
      3,
    ],
    ["whole ones", 4, version2("350000 100000\n", "max 100000\n"), 3],
    ["one, where the quota is less than that", 4, version2("50000 100000\n", "max 100000\n"), 1],
    ["no more than affinity allows", 2, version2("800000 100000\n", "max 100000\n"), 2],
    ["no more than a quota of the first version", 4, version1("cpu", "200000\n"), 2],
    ["the same, mounted by both names", 4, version1("cpu,cpuacct", "200000\n"), 2],
    ["all, where the first version has no quota", 4, version1("cpu", "-1\n"), 4],
    ["all, where there are no groups", 3, files({}), 3],
    ["all, where what stands there is not understood", 3, version2("?", ""), 3],
  ])("are %s", (_what, available, read, expected) => {
    expect(Cores.count(available, read)).toBe(expected);
  });
});
