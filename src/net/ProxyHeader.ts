/**
 * The header of the PROXY protocol, versions 1 and 2, which names the client of a connection that came through another
 * balancer. Pure.
 * https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt
 */
import { isIPv4, isIPv6, SocketAddress as NodeSocketAddress } from "node:net";
import { AddressReader } from "./AddressReader.js";
import { canonical } from "./IpAddress.js";
import type { SocketAddress } from "./SocketAddress.js";

/** The most bytes of a version 1 line, with its line end. */
const longestLine = 107;

/** The most bytes of a header that is accepted: one of version 2 states its own length, up to 64 KiB. */
export const longestHeader = 4_096;

/** What a header says. */
export interface ProxyHeader {
  /**
   * The client, and the address it connected to; undefined if the header has none: the connection is the peer's own.
   */
  readonly addresses: { readonly source: SocketAddress; readonly destination: SocketAddress } | undefined;
}

/** What is wrong with it, as the end of a sentence. */
export interface Wrong {
  readonly wrong: string;
}

const line = Buffer.from("PROXY ", "latin1");
const signature = Buffer.from([0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a]);
/** Signature, version and command, family and protocol, length. */
const fixedLength = 16;

/** Whether the bytes begin as these do, as far as they are there. */
const begins = (bytes: Uint8Array, as: Uint8Array): boolean => {
  for (let i = 0; i < as.length && i < bytes.length; i++) if (bytes[i] !== as[i]) return false;
  return true;
};

const byte = (bytes: Uint8Array, at: number): number => bytes[at] ?? 0;
const short = (bytes: Uint8Array, at: number): number => byte(bytes, at) * 256 + byte(bytes, at + 1);

/** Where the line ends, behind its CR and LF; 0 where it has no end yet, and -1 where it has none within its bounds. */
const lineLength = (bytes: Uint8Array): number => {
  const end = bytes.subarray(0, longestLine).indexOf(0x0a);
  if (end === -1) return bytes.length >= longestLine ? -1 : 0;
  return byte(bytes, end - 1) === 0x0d ? end + 1 : -1;
};

/**
 * How long the header is that the bytes begin with, in bytes: 0 while they do not say, and below 0 where they are the
 * beginning of none. {@link parse} says what is wrong with these.
 */
export const lengthOf = (bytes: Uint8Array): number => {
  if (begins(bytes, line)) return bytes.length < line.length ? 0 : lineLength(bytes);
  if (!begins(bytes, signature)) return -1;
  if (bytes.length < fixedLength) return 0;
  const length = fixedLength + short(bytes, 14);
  return length > longestHeader ? -1 : length;
};

const unnamed: ProxyHeader = { addresses: undefined };

const portOf = (text: string): number | undefined => {
  const port = /^(?:0|[1-9][0-9]{0,4})$/.test(text) ? Number(text) : Number.NaN;
  return port <= 65_535 ? port : undefined;
};

const parseLine = (bytes: Uint8Array): ProxyHeader | Wrong => {
  const length = lineLength(bytes);
  if (length <= 0) return { wrong: `its line has no CR LF within ${longestLine} bytes` };
  const text = Buffer.from(bytes.subarray(0, length - 2)).toString("latin1");
  if (text === "PROXY UNKNOWN" || text.startsWith("PROXY UNKNOWN ")) return unnamed;
  const [, family = "", source = "", destination = "", ...ports] = text.split(" ");
  const isOfFamily = family === "TCP4" ? isIPv4 : family === "TCP6" ? isIPv6 : undefined;
  if (isOfFamily === undefined) return { wrong: "its protocol is not TCP4, TCP6 or UNKNOWN" };
  if (!isOfFamily(source) || !isOfFamily(destination) || `${source}${destination}`.includes("%")) {
    return { wrong: `its addresses are not two of ${family}` };
  }
  const [from, to] = ports.map(portOf);
  if (ports.length !== 2 || from === undefined || to === undefined)
    return { wrong: "it does not end in two ports" };
  return {
    addresses: {
      source: { host: hostOf(source), port: from },
      destination: { host: hostOf(destination), port: to },
    },
  };
};

/** As the operating system would write it. */
const hostOf = (text: string): string =>
  isIPv4(text) ? text : canonical(new NodeSocketAddress({ address: text, family: "ipv6" }).address);

/** A reflected table of CRC32C (RFC 3720, appendix B.4). */
const crcTable = Uint32Array.from({ length: 256 }, (_, i) => {
  let value = i;
  for (let bit = 0; bit < 8; bit++) value = (value & 1) === 0 ? value >>> 1 : (value >>> 1) ^ 0x82f63b78;
  return value >>> 0;
});

/** The CRC32C of bytes, with four of them taken as 0. */
export const crc32c = (bytes: Uint8Array, zeroed: number): number => {
  let crc = 0xffff_ffff;
  for (const [i, value] of bytes.entries()) {
    const taken = i >= zeroed && i < zeroed + 4 ? 0 : value;
    crc = (crcTable[(crc ^ taken) & 255] as number) ^ (crc >>> 8); // 256 of them
  }
  return (crc ^ 0xffff_ffff) >>> 0;
};

const typeOfCrc = 0x03;

/** What is wrong with what stands behind the addresses. */
const wrongTail = (bytes: Uint8Array, from: number): Wrong | undefined => {
  let at = from;
  while (at < bytes.length) {
    const length = short(bytes, at + 1);
    const end = at + 3 + length;
    if (at + 3 > bytes.length || end > bytes.length)
      return { wrong: "an entry behind its addresses is cut off" };
    if (byte(bytes, at) === typeOfCrc) {
      const sum = short(bytes, at + 3) * 65_536 + short(bytes, at + 5);
      if (length !== 4 || sum !== crc32c(bytes, at + 3)) return { wrong: "its checksum is wrong" };
    }
    at = end;
  }
  return undefined;
};

/** The lengths of two addresses and what belongs to them, by family. */
const addressesLength = [0, 12, 36, 216] as const;

const inet = (bytes: Uint8Array, at: number): string => bytes.subarray(at, at + 4).join(".");
const inet6 = (bytes: Uint8Array, at: number): string =>
  hostOf(Array.from({ length: 8 }, (_, i) => short(bytes, at + 2 * i).toString(16)).join(":"));

const parseBinary = (bytes: Uint8Array): ProxyHeader | Wrong => {
  if (bytes.length < fixedLength) return { wrong: "it is cut off" };
  const version = byte(bytes, 12) >> 4;
  const command = byte(bytes, 12) & 15;
  const family = byte(bytes, 13) >> 4;
  const protocol = byte(bytes, 13) & 15;
  const length = fixedLength + short(bytes, 14);
  if (version !== 2) return { wrong: `it is of version ${version}` };
  if (length > longestHeader) return { wrong: `it is longer than ${longestHeader} bytes` };
  if (length !== bytes.length) return { wrong: "it is cut off" };
  // What else a LOCAL one says is to be left unread.
  if (command === 0) return unnamed;
  if (command !== 1) return { wrong: `it has the unknown command ${command}` };
  const expected = addressesLength[family];
  if (expected === undefined || protocol > 2) return { wrong: "its family or protocol is unknown" };
  if (family !== 0 && protocol !== 1) return { wrong: "it is not of a stream" };
  if (length < fixedLength + expected) return { wrong: "its addresses are cut off" };
  const tail = wrongTail(bytes, fixedLength + expected);
  if (tail !== undefined) return tail;
  if (family !== 1 && family !== 2) return unnamed;
  const host = family === 1 ? inet : inet6;
  const size = family === 1 ? 4 : 16;
  const ports = fixedLength + 2 * size;
  return {
    addresses: {
      source: { host: host(bytes, fixedLength), port: short(bytes, ports) },
      destination: { host: host(bytes, fixedLength + size), port: short(bytes, ports + 2) },
    },
  };
};

/** Reads a header: bytes of which {@link lengthOf} said that they are one, or none. */
export const parse = (bytes: Uint8Array): ProxyHeader | Wrong => {
  if (bytes.length >= line.length && begins(bytes, line)) return parseLine(bytes);
  if (bytes.length >= signature.length && begins(bytes, signature)) return parseBinary(bytes);
  return { wrong: "the connection does not begin with one" };
};

/** The version of a header. */
export type Version = "v1" | "v2";

/** The 16 bytes of an IPv6 address, or the 4 of an IPv4 one. */
const bytesOf = (reader: AddressReader, host: string, family: 4 | 6): Buffer => {
  const bytes = Buffer.alloc(family === 4 ? 4 : 16);
  // In IPv6 an IPv4 address is mapped.
  if (reader.read(host) === 4) {
    bytes.writeUInt32BE(reader.words[0] as number, bytes.length - 4); // four
    if (family === 6) bytes.writeUInt16BE(0xffff, 10);
  } else for (let i = 0; i < 4; i++) bytes.writeUInt32BE(reader.words[i] as number, 4 * i); // four
  return bytes;
};

const nobody: Readonly<Record<Version, Uint8Array>> = {
  v1: Buffer.from("PROXY UNKNOWN\r\n"),
  v2: Buffer.concat([signature, Buffer.from([0x20, 0, 0, 0])]),
};

/** A header without addresses: UNKNOWN in version 1, LOCAL in version 2. */
export const unknown = (version: Version): Uint8Array => nobody[version];

/**
 * A header that names the client, and the address that it connected to; one that names nobody where either is not
 * known. Addresses of two families are both written in IPv6.
 */
export const encode = (
  version: Version,
  source: SocketAddress,
  destination: SocketAddress | undefined,
): Uint8Array => {
  const reader = new AddressReader();
  const families = [source.host, destination?.host ?? ""].map((host) => reader.read(host));
  if (destination === undefined || families.includes(undefined)) return unknown(version);
  const family = families.includes(6) ? 6 : 4;
  if (version === "v2") {
    const header = Buffer.from([0x21, family === 4 ? 0x11 : 0x21, 0, family === 4 ? 12 : 36]);
    const ports = Buffer.alloc(4);
    ports.writeUInt16BE(source.port, 0);
    ports.writeUInt16BE(destination.port, 2);
    const hosts = [source, destination].map(({ host }) => bytesOf(reader, host, family));
    return Buffer.concat([signature, header, ...hosts, ports]);
  }
  const host = (address: SocketAddress): string =>
    family === 6 && reader.read(address.host) === 4
      ? `::ffff:${canonical(address.host)}`
      : address.host.replace(/%.*$/, "");
  return Buffer.from(
    `PROXY TCP${family} ${host(source)} ${host(destination)} ${source.port} ${destination.port}\r\n`,
  );
};
