/**
 * The descriptors of this process: how many it may open, and who may take them. Linux has the figures in /proc;
 * elsewhere they are not known.
 */
import { readdirSync, readFileSync } from "node:fs";

export interface Descriptors {
  readonly open: number;
  /** The soft limit; undefined where there is none. */
  readonly limit: number | undefined;
}

/** What holds now; undefined where it cannot be known. */
export const read = (): Descriptors | undefined => {
  try {
    const soft = /^Max open files\s+(\d+)/m.exec(readFileSync("/proc/self/limits", "utf8"))?.[1];
    return {
      open: readdirSync("/proc/self/fd").length,
      limit: soft === undefined ? undefined : Number(soft),
    };
  } catch {
    return undefined;
  }
};

const mostOfMonitoring = 256;

/** How many connections monitoring may hold at a time. They are counted out of what clients' connections may take. */
export const ofMonitoring = (limit: number | undefined): number =>
  limit === undefined ? mostOfMonitoring : Math.min(mostOfMonitoring, Math.max(12, limit >> 3));

/** What is kept for probes, pipes, discovery and the log. */
const ofOthers = (limit: number): number => Math.min(512, Math.max(8, limit >> 3));

/** How many probes of backends may be under way at a time. */
export const ofProbes = (limit: number | undefined): number =>
  limit === undefined ? 256 : ofOthers(limit) >> 1;

/**
 * How many clients' connections fit below the limit, with one descriptor more for the backend of each; undefined where
 * there is no limit to be known. So what runs out is always the place for new clients, which wait, and never that for
 * the backends of those that were accepted.
 */
export const capacity = (now: Descriptors | undefined): number | undefined =>
  now?.limit === undefined
    ? undefined
    : Math.max(1, (now.limit - now.open - ofMonitoring(now.limit) - ofOthers(now.limit)) >> 1);
