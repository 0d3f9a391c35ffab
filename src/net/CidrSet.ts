/**
 * A set of IP addresses, given as addresses and CIDRs (RFC 4632, RFC 4291 section 2.3).
 *
 * An IPv4-mapped IPv6 address counts as its IPv4 address, in the set and in a lookup. So `::/0` is every IPv6 address
 * and no IPv4 address, and `0.0.0.0/0` the reverse.
 *
 * @example
 * ```ts
 * import { CidrSet } from "zeitwork-load-balancer"
 *
 * const set = CidrSet.parse("10.0.0.0/8, 2001:db8::/32, 192.0.2.7")
 * if (set instanceof CidrSet.CidrSet) set.has("10.1.2.3") // true
 * else console.error(set.wrong)
 * ```
 */
import { isIP } from "node:net";
import { AddressReader } from "./AddressReader.js";

/**
 * Addresses from one to another, both included.
 *
 * @since 0.2.0
 * @category models
 */
export interface Cidr {
  readonly family: 4 | 6;
  readonly first: bigint;
  readonly last: bigint;
}

/** The bits of an address. */
const widthOf = (family: 4 | 6): number => (family === 4 ? 32 : 128);

/** An address of IPv6 begins so where it carries one of IPv4. */
const mapped = 96;

const textOf = (family: 4 | 6, address: bigint): string => {
  const parts = family === 4 ? 4 : 8;
  const bits = BigInt(widthOf(family) / parts);
  const values = Array.from(
    { length: parts },
    (_, i) => (address >> (bits * BigInt(parts - 1 - i))) & ((1n << bits) - 1n),
  );
  // Not the shortest form, but one that can be understood, and written again.
  return values.map((value) => value.toString(family === 4 ? 10 : 16)).join(family === 4 ? "." : ":");
};

/**
 * Reads an address or a CIDR: `192.0.2.7`, `10.0.0.0/8`, `2001:db8::/32`. Returns what is wrong, in words that can end
 * a sentence, when the text is neither. Bits beyond the prefix have to be 0.
 *
 * @since 0.2.0
 * @category constructors
 */
export const parseCidr = (text: string): Cidr | { readonly wrong: string } => {
  const [, host = "", digits] = /^([^/]*)(?:\/([0-9]{1,3}))?$/.exec(text) ?? [];
  if (isIP(host) === 0 || host.includes("%")) {
    return { wrong: "it is not an IP address or a CIDR, such as 192.0.2.7, 10.0.0.0/8 or 2001:db8::/32" };
  }
  const reader = new AddressReader();
  const family = reader.read(host);
  if (family === undefined) return { wrong: "it is not an IP address" };
  // The prefix counts the bits of the address as it is written.
  const carried = family === 4 && host.includes(":") ? mapped : 0;
  const width = widthOf(family);
  const given = digits === undefined ? width + carried : Number(digits);
  if (given > width + carried) return { wrong: `a prefix has at most ${width + carried} bits` };
  if (given < carried) {
    return { wrong: `an IPv4 address in IPv6 has a prefix of at least ${mapped} bits` };
  }
  const words = [...reader.words.subarray(0, width / 32)];
  const address = words.reduce((sum, word) => (sum << 32n) | BigInt(word), 0n);
  const rest = (1n << BigInt(width + carried - given)) - 1n;
  const first = address & ~rest;
  return first === address
    ? { family, first, last: first | rest }
    : {
        wrong: `it has bits beyond its prefix (did you mean ${textOf(family, first)}/${given - carried} or ${textOf(family, address)}?)`,
      };
};

const compare = (one: Cidr, other: Cidr): number =>
  one.first < other.first ? -1 : one.first > other.first ? 1 : 0;

/** Ranges in order, with those joined that overlap or touch. */
const joined = (cidrs: ReadonlyArray<Cidr>): ReadonlyArray<readonly [bigint, bigint]> => {
  const ranges: Array<readonly [bigint, bigint]> = [];
  for (const { first, last } of [...cidrs].sort(compare)) {
    const before = ranges.at(-1);
    if (before === undefined || before[1] + 1n < first) ranges.push([first, last]);
    else if (before[1] < last) ranges[ranges.length - 1] = [before[0], last];
  }
  return ranges;
};

/** Disjoint sorted ranges of addresses, each of a fixed number of 32-bit words, for binary search. */
class Ranges {
  readonly #firsts: Uint32Array;
  readonly #lasts: Uint32Array;
  readonly #words: number;
  readonly #count: number;

  constructor(family: 4 | 6, ranges: ReadonlyArray<readonly [bigint, bigint]>) {
    const words = widthOf(family) / 32;
    this.#words = words;
    this.#count = ranges.length;
    this.#firsts = new Uint32Array(words * ranges.length);
    this.#lasts = new Uint32Array(words * ranges.length);
    for (const [i, [first, last]] of ranges.entries()) {
      for (let word = 0; word < words; word++) {
        const shift = BigInt(32 * (words - 1 - word));
        this.#firsts[i * words + word] = Number((first >> shift) & 0xffff_ffffn);
        this.#lasts[i * words + word] = Number((last >> shift) & 0xffff_ffffn);
      }
    }
  }

  has(address: Uint32Array): boolean {
    let low = 0;
    let high = this.#count;
    // The first range that begins after the address.
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#order(this.#firsts, middle, address) <= 0) low = middle + 1;
      else high = middle;
    }
    return low > 0 && this.#order(this.#lasts, low - 1, address) >= 0;
  }

  /** Below 0 where the bound is below the address, above where it is above. */
  #order(bounds: Uint32Array, range: number, address: Uint32Array): number {
    const words = this.#words;
    for (let word = 0; word < words; word++) {
      const difference = (bounds[range * words + word] as number) - (address[word] as number); // inside both
      if (difference !== 0) return difference;
    }
    return 0;
  }
}

/**
 * Built once: a look-up takes some tenths of a microsecond, also of thousands of entries, and allocates nothing.
 *
 * @since 0.2.0
 * @category models
 */
export class CidrSet {
  readonly #inet: Ranges;
  readonly #inet6: Ranges;
  readonly #reader = new AddressReader();

  constructor(
    cidrs: ReadonlyArray<Cidr>,
    /** What people know it by: its entries as they were written, or the file that they came from. */
    readonly text: string,
  ) {
    const of = (family: 4 | 6) => new Ranges(family, joined(cidrs.filter((cidr) => cidr.family === family)));
    this.#inet = of(4);
    this.#inet6 = of(6);
  }

  /** Whether an address is in it. False for a text that is not an address; a zone is ignored. */
  has(host: string): boolean {
    const reader = this.#reader;
    const family = reader.read(host);
    return family === 4 ? this.#inet.has(reader.words) : family === 6 ? this.#inet6.has(reader.words) : false;
  }
}

/** The most that is said of a list that is wrong. */
const mostWrongs = 10;

/**
 * Reads entries, each with where it stands, as a message names it. Returns what is wrong with them where any is, in
 * words that can end a sentence. An entry may be there twice.
 *
 * @internal
 */
export const fromEntries = (
  entries: Iterable<{ readonly text: string; readonly where: string }>,
  text: string,
): CidrSet | { readonly wrong: string } => {
  const cidrs: Array<Cidr> = [];
  const wrongs: Array<string> = [];
  for (const entry of entries) {
    const cidr = parseCidr(entry.text);
    if ("wrong" in cidr) wrongs.push(`${entry.where}: ${cidr.wrong}`);
    else cidrs.push(cidr);
  }
  if (wrongs.length === 0) return new CidrSet(cidrs, text);
  const more = wrongs.length > mostWrongs ? [`and ${wrongs.length - mostWrongs} more`] : [];
  return { wrong: [...wrongs.slice(0, mostWrongs), ...more].join("; ") };
};

/**
 * Reads addresses and CIDRs that are separated by commas. Returns what is wrong, in words that can end a sentence, when
 * the text is something else.
 *
 * @since 0.2.0
 * @category constructors
 */
export const parse = (text: string): CidrSet | { readonly wrong: string } => {
  const items = text.split(",").map((item) => item.trim());
  return fromEntries(
    items.map((item, i) => ({
      text: item,
      where: item === "" ? `item ${i + 1} of ${items.length}` : JSON.stringify(item.slice(0, 200)),
    })),
    text,
  );
};
