/**
 * Operations that the kernel carries out by itself and reports the end of (io_uring(7)), as far as connecting and
 * relaying need them. What they are made of stands behind this, so that a simulated kernel can too.
 *
 * The rule that keeps descriptors and buffers apart: the owner of an operation keeps its descriptor open until it
 * got the end of it, also when it cancelled it. So nothing under way can reach the successor of a descriptor.
 */
import type { Destination } from "./Connecting.js";
import type { Result } from "./Libc.js";

/** What operations are begun for. */
export interface Completing {
  /** The ring's; {@link noSlot} while it is not enlisted. */
  slot: number;
  /**
   * Called once for each operation. `result` is a count, or a negated errno. `buffer` is where received bytes are, to
   * be given back by {@link Ring.recycle}; {@link noBuffer} for none. `more` says that the socket has more to be read.
   */
  readonly onCompletion: (operation: number, result: Result, buffer: number, more: boolean) => void;
  /** It threw. It has to end what it does. */
  readonly onFault: () => void;
}

export const noBuffer = -1;
/** Of one that is not enlisted. */
export const noSlot = -1;

/** `operation` is a small number that says which of a {@link Completing}'s own it is; one of each may be under way. */
export interface Ring {
  /** What one receive may bring at the most, in bytes. */
  readonly bufferSize: number;
  /** Before its first operation. Below zero when the ring was shut down. */
  readonly enlist: (completing: Completing) => Result;
  /** After its last: nothing of it may be under way. Does nothing for one that is not enlisted. */
  readonly dismiss: (completing: Completing) => void;
  /** The destination is not looked at any more when this has returned. */
  readonly connect: (completing: Completing, operation: number, fd: number, destination: Destination) => void;
  /**
   * Receives into a buffer of the ring's own, which is taken when there are bytes for it: waiting costs none. ENOBUFS
   * when all are in use: they come back soon, since no send waits. `now`: there may be something already.
   */
  readonly receive: (completing: Completing, operation: number, fd: number, now: boolean) => void;
  /** Sends from a buffer what is taken at once; EAGAIN when that is nothing. */
  readonly send: (
    completing: Completing,
    operation: number,
    fd: number,
    buffer: number,
    length: number,
  ) => void;
  /** Ends an operation that waits; its result is ECANCELED, unless it came to its end before. */
  readonly cancel: (completing: Completing, operation: number) => void;
  /** The first bytes of a buffer, for as long as it is not given back. */
  readonly bytes: (buffer: number, length: number) => Uint8Array;
  readonly recycle: (buffer: number) => void;
  /** Ends all that is under way, and begins nothing any more. */
  readonly shutdown: () => void;
}
