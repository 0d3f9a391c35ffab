/**
 * Hashes of short texts, spread evenly over 32 bits. For tables and comparisons, not against forgery.
 */

// The finalizer of MurmurHash3 (Appleby, public domain): every input bit reaches every output bit.
export const scramble = (value: number): number => {
  let h = value;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
};

/**
 * FNV-1a over UTF-16 code units (Fowler, Noll, Vo; RFC 9923), then scrambled: FNV alone crowds short, similar texts
 * (neighbouring addresses) into a part of the range.
 */
export const hash = (text: string, seed: number): number => {
  let h = (0x811c9dc5 ^ seed) >>> 0;
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193);
  return scramble(h);
};
