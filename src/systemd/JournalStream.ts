/**
 * Whether what this process writes is read by the journal. systemd says so in JOURNAL_STREAM: the device and the inode
 * of the socket that it gave to the service. See systemd.exec(5).
 */
import { fstatSync } from "node:fs";

export interface Environment {
  /** `device:inode`, both in decimal. */
  readonly JOURNAL_STREAM?: string | undefined;
}

/** True where this descriptor is the socket of JOURNAL_STREAM. It is not where it was redirected to somewhere else. */
export const reads = (descriptor: number, { JOURNAL_STREAM }: Environment = process.env): boolean => {
  if (JOURNAL_STREAM === undefined || JOURNAL_STREAM === "") return false;
  try {
    const { dev, ino } = fstatSync(descriptor, { bigint: true });
    return JOURNAL_STREAM === `${dev}:${ino}`;
  } catch {
    // It is closed.
    return false;
  }
};
