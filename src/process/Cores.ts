/**
 * How many processors this process may keep busy: those that it may run on (affinity), and no more than its control
 * groups allow it in time. A group's quota of 1.5 processors counts as one.
 */
import { readFileSync } from "node:fs";
import { availableParallelism } from "node:os";

/** The text of a file; undefined where it cannot be read. */
export type Read = (path: string) => string | undefined;

const readFile: Read = (path) => {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
};

const root = "/sys/fs/cgroup";

/** A group and all that it is in. In a container the first ones may not be there. */
const withParents = (path: string): ReadonlyArray<string> => {
  const names = path.split("/").filter((name) => name !== "");
  return Array.from({ length: names.length + 1 }, (_, i) =>
    ["", ...names.slice(0, names.length - i)].join("/"),
  );
};

/** `quota period` in microseconds, of a cgroup v2's cpu.max, or of both files of v1. `max` and -1 mean no quota. */
const processors = (text: string): number => {
  const [quota = Number.NaN, period = Number.NaN] = text.trim().split(/\s+/).map(Number);
  return quota > 0 && period > 0 ? quota / period : Number.POSITIVE_INFINITY;
};

/** The smallest quota, in processors, of the groups that /proc/self/cgroup names; infinite where there is none. */
export const quota = (read: Read): number => {
  let least = Number.POSITIVE_INFINITY;
  for (const line of (read("/proc/self/cgroup") ?? "").split("\n")) {
    const [, controllers = "", path = ""] = /^\d+:([^:]*):(.*)$/.exec(line) ?? [];
    const isVersion2 = line.startsWith("0::");
    if (!isVersion2 && !controllers.split(",").includes("cpu")) continue;
    for (const group of withParents(path)) {
      const texts = isVersion2
        ? [read(`${root}${group}/cpu.max`)]
        : [`${root}/cpu`, `${root}/${controllers}`].map((mount) => {
            const files = ["quota", "period"].map(
              (name) => read(`${mount}${group}/cpu.cfs_${name}_us`) ?? "",
            );
            return files.join(" ");
          });
      for (const text of texts) least = Math.min(least, processors(text ?? ""));
    }
  }
  return least;
};

/** Whole processors, one at least. */
export const count = (available = availableParallelism(), read: Read = readFile): number =>
  Math.max(1, Math.min(available, Math.floor(quota(read))));
