/**
 * What can be the path of a file that is written, for the settings and for options alike. Pure.
 */
import { isAbsolute } from "node:path";

/** The longest that the system takes, in bytes (PATH_MAX of Linux, without what ends it). */
const longest = 4095;

/** What is accepted, in words that can follow "accepted:". */
export const accepted = "the absolute path of a file, such as /var/lib/load-balancer/state.json";

/** What is wrong with a path, in words that can end a sentence; undefined where nothing is. */
export const problemOf = (path: string): string | undefined => {
  if (!isAbsolute(path)) return "it is not absolute";
  if (/[\\/]$/.test(path)) return "it is a folder";
  if (/[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/u.test(path)) return "it has characters that cannot be printed";
  return Buffer.byteLength(path) > longest ? `it is longer than ${longest} bytes` : undefined;
};
