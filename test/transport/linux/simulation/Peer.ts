/**
 * Who is at the other end of a simulated connection: sends so much, reads as it likes, and ends in one of several ways.
 */
import type { Random } from "./Random.js";
import type { Stream } from "./Stream.js";

/** What the connection looks like from the peer's side: one end of the wire. */
export interface Wire {
  /** Sends; answers how many bytes there was room for. */
  readonly deliver: (stream: Stream, from: number, length: number) => number;
  /** What it sends next comes behind urgent data. */
  readonly deliverUrgent: () => void;
  readonly deliverFin: () => void;
  readonly deliverReset: () => void;
  /** Makes room: it has read so much. */
  readonly drained: (length: number) => void;
}

export class Peer {
  /** What it sends. */
  readonly stream: Stream;
  /** What it is to be sent: the stream of the peer it was paired with. */
  expects: Stream | undefined;
  /** How many bytes of it there are. */
  awaited = 0;
  /** What it is sent before that. */
  preface: Uint8Array = new Uint8Array();
  /** Bytes at the beginning of the stream that it is not sent: its other side's head. */
  skipped = 0;
  wire: Wire | undefined;
  /** Bytes sent so far, of `total`. */
  sent = 0;
  finSent = false;
  resetSent = false;
  /** When the process was told of that, in the order of such ends. */
  endTold = Number.POSITIVE_INFINITY;
  endToldByEvent = false;
  /** Bytes that have arrived, were checked, and were not read yet. */
  waiting = 0;
  arrived = 0;
  finArrived = false;
  resetArrived = false;
  /** A call of the balancer's for this connection failed for no reason of the peer's. */
  harmed = false;
  /** A client ends when it has its whole answer, a backend when it has been told the end, and not before. */
  readonly #patient: boolean;
  readonly #total: number;
  readonly #chunk: number;
  readonly #appetite: number;
  /** Once in so many times there is urgent data in between; 0 for never. */
  readonly #urgency: number;
  /** It breaks off after so many steps. */
  #patience: number;

  constructor(
    readonly name: string,
    stream: Stream,
    readonly random: Random,
    /** It has far more to send than may be moved in one turn. */
    huge = false,
  ) {
    this.stream = stream;
    const total = random.pick([
      0,
      1,
      random.between(2, 2_000),
      random.between(2_000, 90_000),
      random.between(90_000, 600_000),
    ]);
    this.#total = huge ? random.between(2_000_000, 8_000_000) : total;
    this.#chunk = random.pick([1 + random.below(10), random.between(100, 5_000), 300_000, 10_000_000]);
    if (this.#total / this.#chunk > 200) this.#chunk = Math.ceil(this.#total / 200);
    this.#appetite = random.pick([random.between(3_000, 9_000), 65_536, 1_000_000]);
    this.#patient = random.oneIn(4);
    this.#urgency = random.pick([0, 0, 0, 3]);
    this.#patience = random.oneIn(5) ? random.below(60) : Number.POSITIVE_INFINITY;
  }

  /** Where the next byte stands in the stream that it expects, once it has its preface. */
  get position(): number {
    return this.arrived - this.preface.length + this.skipped;
  }

  /** Whether these are the bytes that come next. */
  awaits(bytes: Uint8Array): boolean {
    const before = Math.min(bytes.length, Math.max(0, this.preface.length - this.arrived));
    const preface = this.preface.subarray(this.arrived, this.arrived + before);
    if (Buffer.compare(bytes.subarray(0, before), preface) !== 0) return false;
    const rest = bytes.subarray(before);
    return rest.length === 0 || this.expects?.matches(this.position + before, rest) !== false;
  }

  get total(): number {
    return this.#total;
  }

  /** Its part of the connection is over. */
  get done(): boolean {
    return this.resetSent || this.resetArrived || (this.finSent && this.finArrived && this.waiting === 0);
  }

  /** With its end, for the other side. */
  #waits(): boolean {
    if (!this.#patient) return false;
    return this.name === "backend"
      ? !this.finArrived || this.waiting > 0
      : this.expects === undefined || this.arrived < this.awaited;
  }

  /** Does one thing; answers whether there was anything to do. */
  step(): boolean {
    const { random, wire } = this;
    if (wire === undefined || this.done) return false;
    this.#patience -= 1;
    if (this.#patience < 0) {
      this.resetSent = true;
      wire.deliverReset();
      return true;
    }
    const choices = random.below(3);
    if (choices === 0 && this.#read(wire)) return true;
    return this.#send(wire) || this.#read(wire);
  }

  #read(wire: Wire): boolean {
    if (this.waiting === 0) return false;
    const length = Math.min(this.waiting, this.random.between(1, this.#appetite));
    this.waiting -= length;
    wire.drained(length);
    return true;
  }

  #send(wire: Wire): boolean {
    if (this.finSent) return false;
    if (this.sent < this.#total) {
      if (this.#urgency > 0 && this.random.oneIn(this.#urgency)) wire.deliverUrgent();
      const length = Math.min(this.#total - this.sent, this.random.between(1, this.#chunk));
      const taken = wire.deliver(this.stream, this.sent, length);
      this.sent += taken;
      if (taken === 0) return false;
      // Data and the end in one go, as a program that writes and closes has them.
      if (this.sent < this.#total || this.#waits() || !this.random.oneIn(2)) return true;
    }
    if (this.#waits()) return false;
    this.finSent = true;
    wire.deliverFin();
    return true;
  }
}
