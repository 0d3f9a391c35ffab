/**
 * The pipes of another process, and how many bytes are in each: from /proc. Linux only; of one's own user, or as root.
 */
import { closeSync, constants, openSync, readdirSync, readlinkSync } from "node:fs";
import koffi from "koffi";

/** asm-generic/ioctls.h. */
const FIONREAD = 0x541b;

const ioctl = koffi.load(null).func("int ioctl(int, unsigned long, _Out_ int*)") as (
  fd: number,
  request: number,
  answer: [number],
) => number;

const attempt = <A>(look: () => A): A | undefined => {
  try {
    return look();
  } catch {
    // It was closed meanwhile.
    return undefined;
  }
};

/** How many bytes are in the pipe that a descriptor of the process reads from. */
const filled = (path: string): number => {
  const fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const answer: [number] = [0];
    if (ioctl(fd, FIONREAD, answer) !== 0) throw new Error("ioctl failed");
    return answer[0];
  } finally {
    closeSync(fd);
  }
};

/** Standard input and output. */
const standard: ReadonlySet<string> = new Set(["0", "1", "2"]);

/** By their names, `pipe:[12345]`, but for those of its standard input and output. */
export const of = (pid: number): ReadonlyMap<string, number> => {
  const folder = `/proc/${pid}/fd`;
  const found = new Map<string, number>();
  for (const entry of readdirSync(folder)) {
    if (standard.has(entry)) continue;
    const path = `${folder}/${entry}`;
    const name = attempt(() => readlinkSync(path));
    if (name?.startsWith("pipe:") !== true || found.has(name)) continue;
    const bytes = attempt(() => filled(path));
    if (bytes !== undefined) found.set(name, bytes);
  }
  return found;
};
