/**
 * The table that the main thread and one data thread share: a slot of a cache line for each connection that was handed
 * over. A slot number stands for the connection in all that the two tell each other.
 *
 * Memory order. Every word of a slot is written by one side at a time, and what it has written becomes the other's with
 * a word of a {@link Queue}: the main thread fills in a slot and then puts the order, the data thread fills in the
 * result and then puts the report. The two byte counts and the time of the connect alone are read while they are
 * written. Counts are 64-bit floating-point numbers at addresses of multiples of 8, the time is a word of 32 bits;
 * x86-64 and 64-bit ARM, all that this runs on, load and store both as a whole. So what is read was true a moment ago.
 */
import type { ByteCounts } from "../../net/ByteCounts.js";

/** From one slot to the next, in bytes. */
const slotBytes = 64;

/** The longest preface that a slot has room for, in bytes. */
export const longestPreface = 112;

/** In 64-bit numbers, from the start of a slot. */
const received = 0;
const sent = 1;

/** In 32-bit words, from the start of a slot. */
const client = 4;
const timeoutMillis = 5;
const result = 6;
/** In its lowest byte; above it the length of the preface. */
const addressLength = 7;

/** What connecting took, in microseconds; {@link notConnected} until it is done. */
const connectMicros = 15;
const notConnected = -1;

/**
 * What the data thread writes in place of what it has read there at the beginning: in that of the time-out, that one
 * side has sent FIN; in that of the address's length, the backend's descriptor. What was there before is never
 * negative, and what it writes always is.
 */
const halfClosed = timeoutMillis;
const backend = addressLength;
const isHalfClosed = -1;

/**
 * In bytes, from the start of a slot: a `sockaddr_in6` at most, of 28 bytes, which ends where {@link connectMicros} is.
 */
const addressAt = 32;

/** Why a client was given back, in place of a {@link Failure}: because that was ordered. */
export const givenUp = -2;

export class Slots {
  readonly #counts: Float64Array;
  readonly #words: Int32Array;
  readonly #bytes: Uint8Array;

  /** Where the prefaces begin: behind all slots. */
  readonly #prefaces: number;

  static memory(count: number): SharedArrayBuffer {
    // The system gives pages to it as they are first written: to prefaces none where there are none.
    return new SharedArrayBuffer((slotBytes + longestPreface) * count);
  }

  constructor(memory: SharedArrayBuffer) {
    this.#counts = new Float64Array(memory);
    this.#words = new Int32Array(memory);
    this.#bytes = new Uint8Array(memory);
    this.#prefaces = (memory.byteLength / (slotBytes + longestPreface)) * slotBytes;
  }

  /** For the main thread: fills in a connection's slot. `to` holds the address in its first `length` bytes. */
  begin(
    slot: number,
    descriptor: number,
    millis: number,
    to: Uint8Array,
    length: number,
    preface?: Uint8Array,
  ): void {
    const at = slot * (slotBytes / 4);
    this.#counts[slot * (slotBytes / 8) + received] = 0;
    this.#counts[slot * (slotBytes / 8) + sent] = 0;
    this.#words[at + client] = descriptor;
    this.#words[at + timeoutMillis] = millis;
    this.#words[at + addressLength] = preface === undefined ? length : length + (preface.length << 8);
    if (preface !== undefined) this.#bytes.set(preface, this.#prefaces + slot * longestPreface);
    this.#words[at + connectMicros] = notConnected;
    for (let i = 0; i < length; i++) this.#bytes[slot * slotBytes + addressAt + i] = to[i] ?? 0;
  }

  /** The client's descriptor. */
  client(slot: number): number {
    return this.#word(slot, client);
  }

  /** How long connecting may take. */
  timeoutMillis(slot: number): number {
    return this.#word(slot, timeoutMillis);
  }

  /** What the connection to the backend begins with; undefined where that is nothing. */
  preface(slot: number): Uint8Array | undefined {
    const length = this.#word(slot, addressLength) >> 8;
    if (length === 0) return undefined;
    const from = this.#prefaces + slot * longestPreface;
    return this.#bytes.slice(from, from + length);
  }

  /** Copies the address to the start of `to`. Returns its length. */
  address(slot: number, to: Uint8Array): number {
    const length = this.#word(slot, addressLength) & 0xff;
    for (let i = 0; i < length; i++) to[i] = this.#bytes[slot * slotBytes + addressAt + i] ?? 0;
    return length;
  }

  /** For the data thread: its backend is connected by this descriptor; connecting took `millis` milliseconds. */
  connected(slot: number, millis: number, descriptor: number): void {
    this.#words[slot * (slotBytes / 4) + backend] = -1 - descriptor;
    // Limited to 2 ** 31 - 1 microseconds, 35 minutes: no connect takes longer.
    this.#words[slot * (slotBytes / 4) + connectMicros] = Math.min(Math.round(1_000 * millis), 2 ** 31 - 1);
  }

  /** What connecting took, in milliseconds; undefined while it is not connected. */
  connectMillis(slot: number): number | undefined {
    const micros = this.#word(slot, connectMicros);
    return micros === notConnected ? undefined : micros / 1_000;
  }

  /**
   * A number that grows whenever there is something new of a connection in its slot: that it is connected, bytes, or a
   * FIN. 0 at its beginning.
   */
  progress(slot: number): number {
    const at = slot * (slotBytes / 8);
    // Both are whole and grow only; a quarter is told apart from them below 2 ** 51.
    const bytes = (this.#counts[at + received] as number) + (this.#counts[at + sent] as number); // inside the array
    const closed = this.#word(slot, halfClosed) === isHalfClosed ? bytes + 0.25 : bytes;
    return this.#word(slot, connectMicros) === notConnected ? closed : closed + 0.5;
  }

  /** The backend's descriptor; undefined while it is not connected. */
  backend(slot: number): number | undefined {
    const word = this.#word(slot, backend);
    return word < 0 ? -1 - word : undefined;
  }

  /** What it came to: what that means is told by the report. */
  result(slot: number): number {
    return this.#word(slot, result);
  }

  setResult(slot: number, value: number): void {
    this.#words[slot * (slotBytes / 4) + result] = value;
  }

  /** The byte counts of a slot, which the data thread writes and the main thread reads. */
  counts(slot: number): ByteCounts {
    return new SlotMeter(this.#counts, this.#words, slot * (slotBytes / 8));
  }

  /** Adds to counts what has been counted since `before`, which becomes what is counted now. */
  bringUpToDate(slot: number, before: ByteCounts, counts: ByteCounts): void {
    const at = slot * (slotBytes / 8);
    const receivedNow = this.#counts[at + received] as number; // inside the array
    const sentNow = this.#counts[at + sent] as number; // inside the array
    if (this.#word(slot, halfClosed) === isHalfClosed) counts.halfClosed = true;
    if (receivedNow !== before.received) {
      counts.received += receivedNow - before.received;
      before.received = receivedNow;
    }
    if (sentNow !== before.sent) {
      counts.sent += sentNow - before.sent;
      before.sent = sentNow;
    }
  }

  #word(slot: number, word: number): number {
    return this.#words[slot * (slotBytes / 4) + word] as number; // inside the array
  }
}

class SlotMeter implements ByteCounts {
  readonly #counts: Float64Array;
  readonly #words: Int32Array;
  readonly #at: number;

  constructor(counts: Float64Array, words: Int32Array, at: number) {
    this.#counts = counts;
    this.#words = words;
    this.#at = at;
  }

  get halfClosed(): boolean {
    return this.#words[2 * this.#at + halfClosed] === isHalfClosed;
  }

  /** It can only be set. */
  set halfClosed(is: boolean) {
    if (is) this.#words[2 * this.#at + halfClosed] = isHalfClosed;
  }

  get received(): number {
    return this.#counts[this.#at + received] as number; // inside the array
  }

  set received(bytes: number) {
    this.#counts[this.#at + received] = bytes;
  }

  get sent(): number {
    return this.#counts[this.#at + sent] as number; // inside the array
  }

  set sent(bytes: number) {
    this.#counts[this.#at + sent] = bytes;
  }
}
