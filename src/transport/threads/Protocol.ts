/**
 * The messages between the main thread and a data thread: orders one way, reports the other, each a word with a slot's
 * number and a kind.
 *
 * The main thread fills in a slot and orders `begin`; the thread reports `ended` or `failed`, exactly once. Only then
 * is the slot free again. "Connected" is not reported: the main thread polls it from the slot (see {@link Slots}),
 * because a wake-up costs more than its whole share of the connection. `abort` may be ordered once in between. Orders
 * are read in order, so an `abort` that comes too late is read before the slot's next `begin`, and finds nothing. So
 * there are never more than three orders of one slot in flight (a late `abort`, the next `begin`, its `abort`), and
 * never more than one report; the queues are made for that many, and cannot be full.
 */

import type { Engine } from "../linux/Engine.js";
import type { RingRemains } from "../linux/Uring.js";
import type { RelayEnd } from "../Transport.js";

/** What the two share. */
export interface Memory {
  /** What it is called, by the system's tools too (`top -H`, `ps -L`); 15 characters at most. */
  readonly name: string;
  readonly slots: SharedArrayBuffer;
  readonly owned: SharedArrayBuffer;
  readonly orders: SharedArrayBuffer;
  readonly reports: SharedArrayBuffer;
  readonly faults: SharedArrayBuffer;
  readonly counts: SharedArrayBuffer;
  /** Event counters: raised by the main thread for its orders, and by the data thread for its reports. */
  readonly ordersCounter: number;
  readonly reportsCounter: number;
  /** What it keeps its ring in; undefined for one that has none. */
  readonly ring: RingRemains | undefined;
  /** The most that the thread's pipes may hold, in bytes. */
  readonly pipeBudget: number;
  /** Whether clients' sockets have SO_LINGER from their listener: see {@link Engine.resetsOnCrash}. */
  readonly resetsOnCrash: boolean;
  /** Addresses of this host to connect from. */
  readonly sourceHosts: ReadonlyArray<string>;
}

/** What a data thread is given at its start. */
export interface Start extends Memory {
  /** Where it loads koffi from. */
  readonly koffi: string;
}

export const ordersOf = (slots: number): number => 3 * slots + 1;
export const reportsOf = (slots: number): number => slots + 2;

/** Both in one word: the kind in its two lowest bits. */
export const word = (slot: number, kind: number): number => (slot << 2) | kind;
export const slotOf = (told: number): number => told >>> 2;
export const kindOf = (told: number): number => told & 3;

/** Kinds of orders. `stop` has no slot. */
export const begin = 0;
export const abort = 1;
export const stop = 2;

/** Kinds of reports. The last has no slot, and one of {@link ready} and {@link fault} in its place. */
export const ended = 0;
/** The client is the main thread's again. */
export const failed = 1;
export const ofThread = 2;

/**
 * How long a report of an ended relay may wait before the main thread is woken for it, in milliseconds. The main thread
 * reads reports whenever it handles input, before it accepts clients: while clients arrive no extra wake-up is needed,
 * and the counts it chooses by are exact. A wake-up for each end would be a third of its work for a connection.
 */
export const reportDelayMillis = 1;

export const ready = 0;
/** It caught an exception: the text stands in {@link Memory.faults}. */
export const fault = 1;

/** The ends of relays in the order of the numbers that stand for them in a slot. */
export const ends: ReadonlyArray<RelayEnd> = [
  "client-closed",
  "backend-closed",
  "client-reset",
  "backend-reset",
];
