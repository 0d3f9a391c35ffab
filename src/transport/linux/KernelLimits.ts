/**
 * Limits on optional resources: locked memory (for io_uring) and pipe pages (for splice). When one is too low, the
 * transport falls back to another way and logs the limit and the cure.
 */
import { readFileSync } from "node:fs";
import { pipeBytes } from "./Pipes.js";

/** Undefined is no limit, or an unknown one. */
export interface KernelLimits {
  /** Memory that may be locked, in bytes (RLIMIT_MEMLOCK), by all processes of the user together. */
  readonly lockedBytes: number | undefined;
  /** Pages that pipes may hold of all processes of the user together (fs.pipe-user-pages-soft). */
  readonly pipePages: number | undefined;
  /** The size of a page, in bytes. */
  readonly pageBytes: number;
}

/** Bits of capabilities (include/uapi/linux/capability.h). */
const CAP_IPC_LOCK = 14n;
const CAP_SYS_ADMIN = 21n;
const CAP_SYS_RESOURCE = 24n;

/** Parses the contents of the files of these names in /proc. Pure. */
export const parse = (files: {
  readonly limits: string;
  readonly status: string;
  readonly pipeUserPagesSoft: string;
  readonly pageBytes: number;
}): KernelLimits => {
  const capabilities = BigInt(`0x${/^CapEff:\s+([0-9a-f]+)$/m.exec(files.status)?.[1] ?? "0"}`);
  const has = (capability: bigint): boolean => ((capabilities >> capability) & 1n) === 1n;
  const locked = /^Max locked memory\s+(\d+)/m.exec(files.limits)?.[1];
  const pages = Number(files.pipeUserPagesSoft);
  return {
    lockedBytes: locked === undefined || has(CAP_IPC_LOCK) ? undefined : Number(locked),
    // 0 means no limit.
    pipePages: pages > 0 && !has(CAP_SYS_ADMIN) && !has(CAP_SYS_RESOURCE) ? pages : undefined,
    pageBytes: files.pageBytes,
  };
};

/** AT_PAGESZ of the auxiliary vector, which is pairs of 64-bit numbers (getauxval(3)). */
const pageSizeEntry = 6n;
const usualPageBytes = 4_096;

/** What a file has; nothing where it cannot be read: under `ProcSubset=pid` of systemd there is no /proc/sys. */
const contentOf = (path: string): Buffer => {
  try {
    return readFileSync(path);
  } catch {
    return Buffer.alloc(0);
  }
};

const pageBytes = (): number => {
  const { buffer, byteLength, byteOffset } = Uint8Array.from(contentOf("/proc/self/auxv"));
  const pairs = new BigUint64Array(buffer, byteOffset, byteLength >> 3);
  for (let at = 0; at + 1 < pairs.length; at += 2)
    if (pairs[at] === pageSizeEntry) return Number(pairs[at + 1]);
  return usualPageBytes;
};

/** The limits of this process, so far as /proc can be read. */
export const read = (): KernelLimits =>
  parse({
    limits: contentOf("/proc/self/limits").toString(),
    status: contentOf("/proc/self/status").toString(),
    pipeUserPagesSoft: contentOf("/proc/sys/fs/pipe-user-pages-soft").toString(),
    pageBytes: pageBytes(),
  });

/** A limit that is too low, as the log says it. */
export interface Shortage {
  readonly limit: string;
  readonly allowed: string;
  readonly needed: string;
  readonly cure: string;
}

/** What the rings lock, in KiB: that of the main thread, and one of each data thread. */
const lockedKib = (dataThreads: number): number => 1_024 + 256 * dataThreads;

/** The limit for which the kernel refused memory for the rings; undefined if it was for another reason. */
export const shortOfLockedMemory = (
  { lockedBytes }: KernelLimits,
  dataThreads: number,
): Shortage | undefined => {
  const needed = lockedKib(dataThreads);
  if (lockedBytes === undefined) return undefined;
  return {
    limit: "locked memory of a user (RLIMIT_MEMLOCK)",
    allowed: `${Math.floor(lockedBytes / 1_024)} KiB`,
    needed: `${needed} KiB`,
    cure: `LimitMEMLOCK=${needed}K in the systemd unit, or ulimit -l ${needed}; more where other processes of the user lock memory`,
  };
};

/** The limit that keeps bulk from all the pipes that it may use; undefined if there is none. */
export const shortOfPipePages = ({ pageBytes, pipePages }: KernelLimits): Shortage | undefined => {
  const needed = Math.ceil(pipeBytes / pageBytes);
  if (pipePages === undefined || pipePages >= needed) return undefined;
  return {
    limit: "pages in pipes of a user (fs.pipe-user-pages-soft)",
    allowed: String(pipePages),
    needed: String(needed),
    cure: `sysctl fs.pipe-user-pages-soft=${needed}; more where other processes of the user have pipes`,
  };
};
