/**
 * Values of labels, of bounded size: what discovery names a backend is repeated in each of its series.
 */
import { createHash } from "node:crypto";

/** The most characters that the value of a label has. */
export const longest = 128;
const kept = 100;

/** The text, or its beginning and a digest of all of it: two long texts never become one value. */
export const make = (text: string): string =>
  text.length <= longest
    ? text
    : `${text.slice(0, kept)}…${createHash("sha256").update(text).digest("hex").slice(0, 16)}`;
