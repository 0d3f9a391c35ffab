/**
 * Reads IP addresses in text as numbers, without allocating: what is read stays in the reader until it reads the next.
 */

const dot = 46;
const colon = 58;
const percent = 37;

/** The value of a hexadecimal digit; 16 for any other character. */
const digitOf = (code: number): number => {
  if (code >= 48 && code <= 57) return code - 48;
  const letter = code | 32;
  return letter >= 97 && letter <= 102 ? letter - 87 : 16;
};

/** The IPv4 address that a text has from one place to another, as a number; -1 where it has none there. */
const inetAt = (text: string, from: number, to: number): number => {
  let value = 0;
  let part = 0;
  let digits = 0;
  let parts = 0;
  for (let i = from; i <= to; i++) {
    const code = i === to ? dot : text.charCodeAt(i);
    if (code === dot) {
      if (digits === 0 || part > 255) return -1;
      value = value * 256 + part;
      parts += 1;
      part = 0;
      digits = 0;
      continue;
    }
    const digit = digitOf(code);
    if (digit > 9 || digits === 3) return -1;
    part = part * 10 + digit;
    digits += 1;
  }
  return parts === 4 ? value : -1;
};

export class AddressReader {
  /** The address: of IPv4 in the first word, of IPv6 in all four, the most significant first. */
  readonly words = new Uint32Array(4);
  readonly #groups = new Uint16Array(8);

  /**
   * Which family the text's address is of; undefined where it is none. An IPv4-mapped IPv6 address is IPv4, and a zone
   * is left out. It is lenient where `isIP` of Node is strict: its texts come from the operating system, or were
   * checked.
   */
  read(text: string): 4 | 6 | undefined {
    const { words } = this;
    const inet = inetAt(text, 0, text.length);
    if (inet >= 0) {
      words[0] = inet;
      return 4;
    }
    if (!this.#readGroups(text)) return undefined;
    const groups = this.#groups;
    for (let i = 0; i < 4; i++) words[i] = (groups[2 * i] as number) * 65_536 + (groups[2 * i + 1] as number); // eight
    if (words[0] !== 0 || words[1] !== 0 || words[2] !== 0xffff) return 6;
    words[0] = words[3] as number; // four
    return 4;
  }

  /** Reads an IPv6 address. */
  #readGroups(text: string): boolean {
    const groups = this.#groups;
    let { length } = text;
    let count = 0;
    /** How many groups are before the `::`. */
    let gap = -1;
    let group = 0;
    let digits = 0;
    let start = 0;
    let i = 0;
    if (text.charCodeAt(0) === colon) {
      if (text.charCodeAt(1) !== colon) return false;
      gap = 0;
      i = 2;
      start = 2;
    }
    for (; i < length; i++) {
      const code = text.charCodeAt(i);
      if (code === percent) {
        length = i;
        break;
      }
      if (code === dot) {
        const zone = text.indexOf("%", i);
        const inet = inetAt(text, start, zone === -1 ? length : zone);
        if (inet < 0 || count > 6) return false;
        groups[count] = inet >>> 16;
        groups[count + 1] = inet & 0xffff;
        return this.#spread(count + 2, gap);
      }
      if (code === colon) {
        if (digits === 0) {
          // The second of two.
          if (gap !== -1 || i === 0) return false;
          gap = count;
        } else {
          if (count > 7) return false;
          groups[count] = group;
          count += 1;
        }
        group = 0;
        digits = 0;
        start = i + 1;
        continue;
      }
      const digit = digitOf(code);
      if (digit > 15 || digits === 4) return false;
      group = group * 16 + digit;
      digits += 1;
    }
    if (digits > 0) {
      if (count > 7) return false;
      groups[count] = group;
      count += 1;
    } else if (gap !== count) return false;
    return this.#spread(count, gap);
  }

  /** Puts the groups behind the `::` at the end, and zeros before them. */
  #spread(count: number, gap: number): boolean {
    if (gap === -1) return count === 8;
    if (count > 7) return false;
    const groups = this.#groups;
    groups.copyWithin(8 - (count - gap), gap, count);
    groups.fill(0, gap, 8 - (count - gap));
    return true;
  }
}
