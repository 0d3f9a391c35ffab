/**
 * The system calls of io_uring, and all that is known here of its numbers and memory layouts (io_uring_setup(2),
 * io_uring_enter(2), io_uring_register(2), include/uapi/linux/io_uring.h). They are the same on x86-64 and 64-bit ARM.
 */
import type { EventCounters } from "./EventCounter.js";
import type { Block, Result } from "./Libc.js";

export interface Uring extends EventCounters {
  /** Memory that starts where a page does. */
  readonly allocatePages: (size: number) => Block;
  /** The same for what the kernel writes into by itself: it outlives the thread. */
  readonly allocateBuffers: (size: number) => Block;
  /** {@link params} at the start of the block, filled in. Returns a descriptor, close-on-exec. */
  readonly setup: (entries: number, params: Block) => Result;
  /** Submits this many operations and runs other due work; does not wait. Returns how many were accepted. */
  readonly enter: (ring: number, submit: number) => Result;
  readonly register: (ring: number, operation: number, argument: number, count: number) => Result;
  /** Memory that is shared with the kernel, at an offset of the ring's; undefined where it refuses. */
  readonly map: (ring: number, size: number, offset: number) => Block | undefined;
  readonly unmap: (block: Block) => void;
}

/**
 * What a ring of a thread that may die leaves behind, in memory that others hold: mappings of the process, each as its
 * address and its size, and the memory that the kernel receives into for as long as the ring is there.
 */
export interface RingRemains {
  readonly mappings: SharedArrayBuffer;
  readonly buffers: SharedArrayBuffer;
}

/** A ring has two. */
const mostMappings = 2;

/** More than every page size there is. */
export const pageSize = 65_536;

/** For a ring whose buffers have this many bytes in total. */
export const ringRemains = (bufferBytes: number): RingRemains => ({
  mappings: new SharedArrayBuffer(2 * 8 * mostMappings),
  buffers: new SharedArrayBuffer(bufferBytes + pageSize),
});

/** `struct io_uring_params`: its size, and where what is used here stands, in bytes. */
export const params = {
  size: 120,
  submissionEntries: 0,
  completionEntries: 4,
  flags: 8,
  features: 20,
  submission: { tail: 44, mask: 48, flags: 56, array: 64 },
  completion: { head: 80, tail: 84, mask: 88, entriesAt: 100 },
} as const;

export const IORING_SETUP_CQSIZE = 1 << 3;
export const IORING_SETUP_SUBMIT_ALL = 1 << 7;
export const IORING_SETUP_TASKRUN_FLAG = 1 << 9;
export const IORING_SETUP_SINGLE_ISSUER = 1 << 12;
/** Work is done only where it is asked for, in `enter`. Linux 6.1. */
export const IORING_SETUP_DEFER_TASKRUN = 1 << 13;

export const IORING_FEAT_SINGLE_MMAP = 1 << 0;
/** Completions beyond the ring's room are kept and not dropped. */
export const IORING_FEAT_NODROP = 1 << 1;
/** What an operation refers to may change once it was submitted. */
export const IORING_FEAT_SUBMIT_STABLE = 1 << 2;

export const IORING_OFF_SQ_RING = 0;
export const IORING_OFF_SQES = 0x1000_0000;

/** Flags of the submission ring. Completions that had no room are kept, and come with the next `enter`. */
export const IORING_SQ_CQ_OVERFLOW = 1 << 1;
/** Work is due that the next `enter` would do. */
export const IORING_SQ_TASKRUN = 1 << 2;

export const IORING_REGISTER_EVENTFD = 4;
export const IORING_REGISTER_PBUF_RING = 22;

export const IORING_OP_ASYNC_CANCEL = 14;
export const IORING_OP_CONNECT = 16;
export const IORING_OP_SEND = 26;
export const IORING_OP_RECV = 27;

export const IOSQE_BUFFER_SELECT = 1 << 5;
/** For the priority field of a receive: there is nothing yet, so wait first. */
export const IORING_RECVSEND_POLL_FIRST = 1 << 0;

export const IORING_CQE_F_BUFFER = 1 << 0;
export const IORING_CQE_F_SOCK_NONEMPTY = 1 << 2;
/** Where a completion's flags have the number of its buffer. */
export const IORING_CQE_BUFFER_SHIFT = 16;

/** `struct io_uring_sqe`: its size and fields in 32-bit words. */
export const submissionWords = 16;
export const sqe = {
  /** Operation, flags and priority. */
  head: 0,
  fd: 1,
  /** The length of an address to connect to. */
  offset: 2,
  address: 4,
  length: 6,
  operationFlags: 7,
  userData: 8,
  bufferGroup: 10,
} as const;

/** `struct io_uring_cqe`, likewise. */
export const completionWords = 4;
export const cqe = { userData: 0, result: 2, flags: 3 } as const;

/** `struct io_uring_buf`, likewise; the ring's tail stands in the first one. */
export const bufferWords = 4;
export const buffer = { address: 0, length: 2, id: 3 } as const;
/** In 16-bit words. */
export const bufferTail = 7;
/** `struct io_uring_buf_reg`, in bytes. */
export const bufferRegistration = { size: 40, address: 0, entries: 8, group: 12 } as const;

/** Memory as the kernel's 32-bit words. */
export const words = ({ bytes }: Block): Uint32Array =>
  new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength >> 2);
