/** Folders whose content, modes and times follow from what is written to them, and from nothing of the machine. */

import { createHash } from "node:crypto";
import {
  chmodSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";

/** Writes a file, and makes the folders that it is in. */
export const write = (path: string, text: string | Buffer, mode = 0o644): void => {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, text);
  chmodSync(path, mode);
};

/** Every file below a folder, links left out, by its path from there; sorted. */
export const files = (folder: string): ReadonlyArray<string> =>
  readdirSync(folder, { recursive: true, encoding: "utf8" })
    .filter((name) => lstatSync(join(folder, name)).isFile())
    .sort();

/** The bytes of all files below a folder. */
export const size = (folder: string): number =>
  files(folder).reduce((total, name) => total + lstatSync(join(folder, name)).size, 0);

/** The checksum of each file, as md5sum prints them. */
export const md5sums = (folder: string, names: ReadonlyArray<string>): string =>
  names
    .map(
      (name) =>
        `${createHash("md5")
          .update(readFileSync(join(folder, name)))
          .digest("hex")}  ${name}\n`,
    )
    .join("");

/** Gives all below a folder one time; files that only their owner reads keep that mode. */
export const settle = (folder: string, seconds: number): void => {
  for (const name of [...readdirSync(folder, { recursive: true, encoding: "utf8" }), ""]) {
    const path = join(folder, name);
    const found = lstatSync(path);
    if (found.isSymbolicLink()) continue;
    const ofFile = (found.mode & 0o077) === 0 ? 0o600 : (found.mode & 0o100) === 0 ? 0o644 : 0o755;
    chmodSync(path, found.isDirectory() ? 0o755 : ofFile);
    utimesSync(path, seconds, seconds);
  }
};
