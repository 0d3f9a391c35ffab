/**
 * Sets of small whole numbers as bits in 32-bit words, as an immutable value: ten thousand stand in 313 numbers.
 */

/** A set: `n` is in it when bit `n mod 32` of the word at `n / 32` is 1. */
export type Bits = ReadonlyArray<number>;

/** The set with a number put into it, or taken out of it. */
export const set = (bits: Bits, n: number, isIn: boolean): Bits => {
  const words = bits.slice();
  const at = n >>> 5;
  while (words.length <= at) words.push(0);
  const word = words[at] as number; // It has just been seen to.
  words[at] = isIn ? word | (1 << (n & 31)) : word & ~(1 << (n & 31));
  return words;
};

/** The lowest number of the set that is `from` or above; -1 where there is none. */
export const next = (bits: Bits, from: number): number => {
  let at = from >>> 5;
  let word = (bits[at] ?? 0) & (-1 << (from & 31));
  for (; at < bits.length; word = bits[at] ?? 0) {
    if (word !== 0) return at * 32 + 31 - Math.clz32(word & -word);
    at += 1;
  }
  return -1;
};

// How many bits of a word are 1 (Warren, "Hacker's Delight", section 5-1).
const count = (word: number): number => {
  const pairs = word - ((word >>> 1) & 0x55555555);
  const fours = (pairs & 0x33333333) + ((pairs >>> 2) & 0x33333333);
  return Math.imul((fours + (fours >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24;
};

/** The number of the set that has this many of the set below it; -1 if the set is not larger than that. */
export const nth = (bits: Bits, index: number): number => {
  let left = index;
  for (let at = 0; at < bits.length; at++) {
    let word = bits[at] as number; // at is within.
    const inWord = count(word);
    if (left >= inWord) {
      left -= inWord;
      continue;
    }
    for (; left > 0; left--) word &= word - 1;
    return at * 32 + 31 - Math.clz32(word & -word);
  }
  return -1;
};

/** How many numbers of the set are below `n`. */
export const below = (bits: Bits, n: number): number => {
  const last = n >>> 5;
  let sum = 0;
  for (let at = 0; at < last && at < bits.length; at++) sum += count(bits[at] as number); // at is within.
  return sum + count((bits[last] ?? 0) & ~(-1 << (n & 31)));
};
