/**
 * The C library of this process, called through koffi: no compiler, no addon of our own.
 *
 * Prototypes are numeric throughout where a call is frequent (`int` results, addresses as `uintptr_t`): that is koffi's
 * cheapest call.
 */
import { closeSync, existsSync, openSync } from "node:fs";
import { createRequire } from "node:module";
import { constants } from "node:os";
import type koffi from "koffi";

export type Koffi = typeof koffi;

/** koffi, loaded only where it is asked for: nothing else breaks where it is missing. */
export const load = async (): Promise<Koffi> => (await import("koffi")).default;

/** The native part of koffi, for a thread that starts later. */
export interface Native {
  readonly path: string;
  readonly close: () => void;
}

/**
 * Opens the native part of koffi, which {@link load} has loaded; undefined where it is not known. Its path names the open
 * file: until it is closed, {@link loadNative} gets the code that this process has, whatever stands at the file's own
 * path by then. Where there is no /proc it is that path.
 */
export const openNative = (): Native | undefined => {
  // koffi's own loader requires it, and all requires share one cache.
  const path = Object.keys(createRequire(import.meta.url).cache).find((name) => name.endsWith("koffi.node"));
  if (path === undefined) return undefined;
  if (!existsSync("/proc/self/fd")) return { path, close: () => {} };
  const descriptor = openSync(path, "r");
  return { path: `/proc/self/fd/${descriptor}`, close: () => closeSync(descriptor) };
};

/** koffi's native part: all of koffi but warnings of what it will not have one day. */
export const loadNative = (path: string): Koffi => {
  const module: { exports: unknown } = { exports: {} };
  process.dlopen(module, path);
  return module.exports as Koffi; // what koffi itself exports
};

/** Flags that more than one call takes, of Linux's generic headers, which x86-64 and 64-bit ARM share. */
export const SOCK_CLOEXEC = 0o2000000;
export const MSG_DONTWAIT = 0x40;
export const MSG_NOSIGNAL = 0x4000;

/** The functions of this process. */
export const functionsOf = (koffi: Koffi) => {
  // The process itself: both C libraries are in it, whatever their file is called.
  const library = koffi.load(null);
  // koffi has no types for its functions' arguments; each prototype stands where it is called, to compare with.
  const call = (prototype: string) => library.func(prototype) as (...args: ReadonlyArray<number>) => number;
  // A failure without an errno is one that something overwrote; a call that is tried again says what it was.
  const failed = (): number => -(koffi.errno() || constants.errno.EAGAIN);
  /** The result of a call, or its errno, negated. */
  const checked = (result: number): number => (result < 0 ? failed() : result);
  return { library, call, failed, checked };
};
