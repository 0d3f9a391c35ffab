/**
 * Reads a JSON list that arrives in pieces, entry by entry, in slices of bounded size: a long list never holds up the
 * event loop, and its text is never in memory as a whole.
 *
 * The bytes are scanned only for where entries begin and end; each entry is parsed by JSON.parse.
 *
 * ```ts
 * const list = new JsonList(limits, (entry, place) => entries.push(entry))
 * for (const piece of pieces) yield* TimeSlices.run(list.push(piece))
 * const problem = list.end()
 * ```
 */

/**
 * What is accepted of a list.
 *
 * @since 0.2.0
 * @category models
 */
export interface Limits {
  /** The longest text, in bytes. */
  readonly bytes: number;
  readonly entries: number;
  /** How deep lists and objects may stand within each other; the list itself is 1. */
  readonly depth: number;
  /** The longest text of one entry, in bytes. A longer one is not parsed: {@link oversized} stands for it. */
  readonly entryBytes: number;
}

/** Why a text is not read further. */
export type Problem =
  /** It is not JSON, or it ends too early. */
  | "not-json"
  /** It is JSON, but neither a list nor null. */
  | "not-a-list"
  /** It is longer than is accepted. */
  | "bytes"
  /** It has more entries than are accepted. */
  | "entries"
  /** It is nested deeper than is accepted. */
  | "depth";

/** The fields of an object of JSON. */
export type Fields = Readonly<Record<string, unknown>>;

/** Whether a value of JSON is an object, and no list. */
export const isObject = (value: unknown): value is Fields =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** Stands for an entry that is longer than is accepted. */
export const oversized: unique symbol = Symbol("oversized");

/** A step ends after this many bytes. */
const stepBytes = 8 * 1024;
/** A step ends after this many entries. */
const stepEntries = 64;

/** A text that is not a list is collected up to this length, to recognize `null`. */
const mostOther = 1024;

const tab = 0x09;
const lineFeed = 0x0a;
const carriageReturn = 0x0d;
const space = 0x20;
const quote = 0x22;
const comma = 0x2c;
const openList = 0x5b;
const backslash = 0x5c;
const closeList = 0x5d;
const openObject = 0x7b;
const closeObject = 0x7d;

/** A byte order mark, with which some programs begin a text. It is skipped. */
const byteOrderMark = [0xef, 0xbb, 0xbf] as const;

const isSpace = (byte: number): boolean =>
  byte === space || byte === lineFeed || byte === carriageReturn || byte === tab;

/** The index of the first byte that is not a space; the length if there is none. */
const skipSpaces = (bytes: Uint8Array): number => {
  let at = 0;
  while (at < bytes.length && isSpace(bytes[at] ?? 0)) at++;
  return at;
};

export class JsonList {
  /**
   * What the scan has reached: nothing but spaces yet, the list, a value that is not a list, or what follows the list.
   */
  #phase: "before" | "list" | "other" | "after" = "before";
  #problem: Problem | undefined;
  #bytes = 0;
  #entries = 0;
  #depth = 1;
  #inText = false;
  /** The next byte of a text stands for itself: it follows a backslash. */
  #escaped = false;
  /** The text of the entry that the scan is in, as far as it stands in earlier pieces; without leading spaces. */
  #parts: Array<Uint8Array> = [];
  #partsBytes = 0;
  /** What was taken in this step, which may be of several pieces. */
  #stepBytes = 0;
  #stepEntries = 0;
  readonly #decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

  constructor(
    readonly limits: Limits,
    /** Called with each entry, in order, and its place, counted from 1. Must not throw. */
    readonly onEntry: (entry: unknown, place: number) => void,
  ) {}

  /** How many bytes were taken. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Takes the next piece of the text, and yields between steps. Returns a problem once no more is to be read. */
  *push(piece: Uint8Array): Generator<void, Problem | undefined> {
    let at = 0;
    while (at < piece.length && this.#problem === undefined) {
      if (this.#stepBytes >= stepBytes || this.#stepEntries >= stepEntries) {
        yield;
        this.#stepBytes = 0;
        this.#stepEntries = 0;
      }
      const taken = this.#take(piece.subarray(at, at + stepBytes - this.#stepBytes));
      at += taken;
      this.#bytes += taken;
      this.#stepBytes += taken;
      if (this.#bytes > this.limits.bytes) this.#fail("bytes");
    }
    return this.#problem;
  }

  /** The text has ended. Returns what is wrong with it. */
  end(): Problem | undefined {
    if (this.#problem !== undefined || this.#phase === "after") return this.#problem;
    if (this.#phase !== "other") return "not-json";
    const other = this.#parse();
    return this.#problem ?? (other === null ? undefined : "not-a-list");
  }

  #fail(problem: Problem): void {
    this.#problem ??= problem;
    this.#parts = [];
  }

  /** Returns how many bytes it consumed: all, unless there were many entries in them. */
  #take(slice: Uint8Array): number {
    switch (this.#phase) {
      case "before":
        return this.#takeBeginning(slice);
      case "list":
        return this.#takeList(slice);
      case "other":
        this.#collect(slice);
        if (this.#partsBytes > mostOther) this.#fail("not-a-list");
        return slice.length;
      case "after":
        if (skipSpaces(slice) < slice.length) this.#fail("not-json");
        return slice.length;
    }
  }

  #takeBeginning(slice: Uint8Array): number {
    let at = 0;
    while (at < slice.length && (slice[at] === byteOrderMark[this.#bytes + at] || isSpace(slice[at] ?? 0)))
      at++;
    if (at === slice.length) return at;
    if (slice[at] === openList) {
      this.#phase = "list";
      return at + 1;
    }
    this.#phase = "other";
    return at;
  }

  #takeList(slice: Uint8Array): number {
    // Private fields are slow to read and write for every byte.
    let inText = this.#inText;
    let escaped = this.#escaped;
    let depth = this.#depth;
    let from = 0;
    let at = 0;
    while (at < slice.length && this.#stepEntries < stepEntries && depth > 0 && depth <= this.limits.depth) {
      const byte = slice[at++];
      if (inText) {
        if (escaped) escaped = false;
        else if (byte === backslash) escaped = true;
        else if (byte === quote) inText = false;
      } else if (byte === quote) {
        inText = true;
      } else if (byte === openList || byte === openObject) {
        depth += 1;
      } else if (byte === closeList || byte === closeObject) {
        depth -= 1;
        if (depth === 0) this.#close(byte, slice.subarray(from, at - 1));
      } else if (byte === comma && depth === 1) {
        this.#entry(slice.subarray(from, at - 1));
        if (this.#problem !== undefined) return at;
        from = at;
      }
    }
    this.#inText = inText;
    this.#escaped = escaped;
    this.#depth = depth;
    if (depth > this.limits.depth) this.#fail("depth");
    if (depth > 0) this.#collect(slice.subarray(from, at));
    return at;
  }

  /** The list ends with this byte, and what may be a last entry stands before it. */
  #close(byte: number, last: Uint8Array): void {
    this.#phase = "after";
    if (byte !== closeList) this.#fail("not-json");
    const empty = this.#entries === 0 && this.#partsBytes === 0 && skipSpaces(last) === last.length;
    if (!empty) this.#entry(last);
  }

  /** An entry ends with these bytes. */
  #entry(last: Uint8Array): void {
    this.#collect(last);
    const value = this.#partsBytes > this.limits.entryBytes ? oversized : this.#parse();
    this.#parts = [];
    this.#partsBytes = 0;
    this.#entries += 1;
    this.#stepEntries += 1;
    if (this.#entries > this.limits.entries) this.#fail("entries");
    if (this.#problem === undefined) this.onEntry(value, this.#entries);
  }

  #collect(bytes: Uint8Array): void {
    const part = this.#partsBytes === 0 ? bytes.subarray(skipSpaces(bytes)) : bytes;
    this.#partsBytes += part.length;
    // It will not be parsed: only its length is needed.
    if (this.#partsBytes > this.limits.entryBytes) this.#parts = [];
    else if (part.length > 0) this.#parts.push(part);
  }

  #parse(): unknown {
    const [first, ...rest] = this.#parts;
    const text = rest.length === 0 ? first : Buffer.concat(this.#parts, this.#partsBytes);
    try {
      return JSON.parse(this.#decoder.decode(text));
    } catch {
      // What JSON.parse has to say quotes the text, so it is not repeated.
      return this.#fail("not-json");
    }
  }
}
