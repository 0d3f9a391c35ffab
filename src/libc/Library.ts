/**
 * The C library of this process, called through koffi: no compiler, no addon of our own.
 *
 * Prototypes are numeric throughout where a call is frequent (`int` results, addresses as `uintptr_t`): that is koffi's
 * cheapest call.
 */
import { constants } from "node:os";
import type koffi from "koffi";

export type Koffi = typeof koffi;

/** koffi, loaded only where it is asked for: nothing else breaks where it is missing. */
export const load = async (): Promise<Koffi> => (await import("koffi")).default;

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
