/**
 * The descriptors of this process: how many are open, and how many may be. Read from /proc, so known on Linux only.
 */
import { readdirSync, readFileSync } from "node:fs";

export interface Descriptors {
  readonly open: number;
  /** The soft limit; undefined where there is none. */
  readonly limit: number | undefined;
}

/** Reads both now; undefined if they cannot be known. */
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
