/**
 * IP addresses between text and the bytes that the kernel takes.
 */
import { readFileSync } from "node:fs";
import { isIPv4, isIPv6 } from "node:net";
import type { SocketAddress } from "../../net/SocketAddress.js";
import { AF_INET, AF_INET6, type RawAddress } from "./Libc.js";

/**
 * The number of the interface that a zone names (`eth0` or the number itself), 0 where there is none: the kernel
 * refuses that with EINVAL. Read from sysfs, as `os.networkInterfaces()` throws where netlink sockets are forbidden.
 */
const scopeOf = (zone: string): number => {
  if (/^[0-9]+$/.test(zone)) return Number(zone);
  try {
    return Number.parseInt(readFileSync(`/sys/class/net/${zone}/ifindex`, "latin1"), 10) || 0;
  } catch {
    return 0;
  }
};

const inet = (text: string): ReadonlyArray<number> => text.split(".").map(Number);

const groups = (text: string): ReadonlyArray<number> =>
  text === ""
    ? []
    : text.split(":").flatMap((group) => {
        if (group.includes(".")) return inet(group);
        const value = Number.parseInt(group, 16);
        return [value >> 8, value & 0xff];
      });

/** Undefined where the host is not an IP address in text. */
export const parse = ({ host, port }: SocketAddress): RawAddress | undefined => {
  if (isIPv4(host)) return { family: AF_INET, bytes: inet(host), port, scope: 0 };
  if (!isIPv6(host)) return undefined;
  const [text = "", zone] = host.split("%");
  const [head = "", tail] = text.split("::");
  const before = groups(head);
  const after = tail === undefined ? [] : groups(tail);
  const between = Array.from({ length: 16 - before.length - after.length }, () => 0);
  const scope = zone === undefined ? 0 : scopeOf(zone);
  return { family: AF_INET6, bytes: [...before, ...between, ...after], port, scope };
};

const isMapped = (bytes: ReadonlyArray<number>): boolean => {
  for (let i = 0; i < 10; i++) if (bytes[i] !== 0) return false;
  return bytes[10] === 0xff && bytes[11] === 0xff;
};

/** The text of RFC 5952: no leading zeros, and the longest run of zero groups as `::`. */
const inet6 = (bytes: ReadonlyArray<number>): string => {
  const values = Array.from({ length: 8 }, (_, i) => ((bytes[2 * i] ?? 0) << 8) | (bytes[2 * i + 1] ?? 0));
  let start = -1;
  let length = 1;
  for (let i = 0; i < 8; i++) {
    let run = 0;
    while (values[i + run] === 0) run++;
    if (run > length) {
      start = i;
      length = run;
    }
  }
  const hex = (part: ReadonlyArray<number>) => part.map((value) => value.toString(16)).join(":");
  return start === -1 ? hex(values) : `${hex(values.slice(0, start))}::${hex(values.slice(start + length))}`;
};

const dotted = (bytes: ReadonlyArray<number>, at: number): string =>
  `${bytes[at]}.${bytes[at + 1]}.${bytes[at + 2]}.${bytes[at + 3]}`;

/** An IPv4 address mapped into IPv6 (`::ffff:10.0.0.1`) is read as IPv4. */
export const format = ({ family, bytes, port }: RawAddress): SocketAddress => {
  if (family === AF_INET) return { host: dotted(bytes, 0), port };
  return { host: isMapped(bytes) ? dotted(bytes, 12) : inet6(bytes), port };
};
