import { SocketAddress as NodeSocketAddress } from "node:net";
import { FastCheck as fc } from "effect";
import { assert, describe, it } from "vitest";
import { crc32c, encode, lengthOf, longestHeader, parse, unknown } from "../../src/net/ProxyHeader.js";

const signature = Buffer.from("0d0a0d0a000d0a515549540a", "hex");

/** A header of version 2. */
const binary = (command: number, family: number, rest: Uint8Array, version = 2): Buffer =>
  Buffer.concat([
    signature,
    Buffer.from([(version << 4) | command, family, rest.length >> 8, rest.length & 255]),
    rest,
  ]);

const ports = (from: number, to: number): Buffer => Buffer.from([from >> 8, from & 255, to >> 8, to & 255]);
const tlv = (type: number, value: Uint8Array): Buffer =>
  Buffer.concat([Buffer.from([type, value.length >> 8, value.length & 255]), value]);

/** With a CRC32C at its end, which is right but for what is added to it. */
const summed = (command: number, family: number, addresses: Uint8Array, off = 0): Buffer => {
  const header = binary(command, family, Buffer.concat([addresses, tlv(3, Buffer.alloc(4))]));
  header.writeUInt32BE((crc32c(header, header.length - 4) + off) >>> 0, header.length - 4);
  return header;
};

const port = fc.nat(65_535);
const inet = fc.uint8Array({ minLength: 4, maxLength: 4 });
// The first byte keeps it from carrying an IPv4 address.
const inet6 = fc
  .uint8Array({ minLength: 15, maxLength: 15 })
  .map((bytes) => Uint8Array.from([0x20, ...bytes]));
const inet6Text = (bytes: Uint8Array): string =>
  new NodeSocketAddress({
    address: Array.from({ length: 8 }, (_, i) =>
      Buffer.from(bytes)
        .readUInt16BE(2 * i)
        .toString(16),
    ).join(":"),
    family: "ipv6",
  }).address;

/** Headers with addresses, and what they say. */
const named = fc.oneof(
  fc.tuple(inet, inet, port, port).chain(([a, b, p, q]) => {
    const said = { source: { host: a.join("."), port: p }, destination: { host: b.join("."), port: q } };
    const addresses = Buffer.concat([a, b, ports(p, q)]);
    return fc.constantFrom(
      { said, bytes: Buffer.from(`PROXY TCP4 ${a.join(".")} ${b.join(".")} ${p} ${q}\r\n`) },
      { said, bytes: binary(1, 0x11, addresses) },
      { said, bytes: binary(1, 0x11, Buffer.concat([addresses, tlv(0xe0, Buffer.alloc(300)), tlv(4, a)])) },
      { said, bytes: summed(1, 0x11, addresses) },
    );
  }),
  fc.tuple(inet6, inet6, port, port).chain(([a, b, p, q]) => {
    const [from, to] = [inet6Text(a), inet6Text(b)];
    const said = { source: { host: from, port: p }, destination: { host: to, port: q } };
    return fc.constantFrom(
      { said, bytes: Buffer.from(`PROXY TCP6 ${from} ${to} ${p} ${q}\r\n`) },
      { said, bytes: binary(1, 0x21, Buffer.concat([a, b, ports(p, q)])) },
      { said, bytes: summed(1, 0x21, Buffer.concat([a, b, ports(p, q)])) },
    );
  }),
);

/** Headers that name nobody. */
const unnamed: ReadonlyArray<readonly [what: string, bytes: Buffer]> = [
  ["UNKNOWN", Buffer.from("PROXY UNKNOWN\r\n")],
  ["UNKNOWN with more on its line", Buffer.from("PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n")],
  ["UNKNOWN with nonsense on its line", Buffer.from("PROXY UNKNOWN \x00\xff ??\r\n", "latin1")],
  ["LOCAL", binary(0, 0, Buffer.alloc(0))],
  [
    "LOCAL with addresses and entries behind it",
    binary(0, 0x11, Buffer.concat([Buffer.alloc(12, 9), tlv(4, signature)])),
  ],
  ["LOCAL with what is nothing behind it", binary(0, 0xff, Buffer.from([1, 2, 3]))],
  ["no family", binary(1, 0, Buffer.alloc(0))],
  ["no family, and a right checksum", summed(1, 0, Buffer.alloc(0))],
  ["AF_UNIX", binary(1, 0x31, Buffer.alloc(216, 65))],
];

const wrong: ReadonlyArray<readonly [what: string, bytes: Buffer, why: string]> = [
  ["HTTP", Buffer.from("GET / HTTP/1.1\r\n\r\n"), "does not begin with one"],
  ["TLS", Buffer.from([0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3]), "does not begin with one"],
  ["lower case", Buffer.from("proxy TCP4 1.1.1.1 1.1.1.2 1 2\r\n"), "does not begin with one"],
  ["a line of 108 bytes", Buffer.from(`PROXY UNKNOWN ${"x".repeat(92)}\r\n`), "no CR LF within 107 bytes"],
  ["a line without CR", Buffer.from("PROXY TCP4 1.1.1.1 1.1.1.2 1 2\n"), "no CR LF"],
  ["two spaces", Buffer.from("PROXY TCP4  1.1.1.1 1.1.1.2 1 2\r\n"), "addresses are not two of TCP4"],
  ["a port too few", Buffer.from("PROXY TCP4 1.1.1.1 1.1.1.2 1\r\n"), "two ports"],
  ["a port too many", Buffer.from("PROXY TCP4 1.1.1.1 1.1.1.2 1 2 3\r\n"), "two ports"],
  ["a space at the end", Buffer.from("PROXY TCP4 1.1.1.1 1.1.1.2 1 2 \r\n"), "two ports"],
  ["a port with a zero before it", Buffer.from("PROXY TCP4 1.1.1.1 1.1.1.2 01 2\r\n"), "two ports"],
  ["a port out of range", Buffer.from("PROXY TCP4 1.1.1.1 1.1.1.2 65536 2\r\n"), "two ports"],
  ["an address of the other family", Buffer.from("PROXY TCP4 ::1 1.1.1.2 1 2\r\n"), "not two of TCP4"],
  ["an address with a zone", Buffer.from("PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n"), "not two of TCP6"],
  ["UDP4", Buffer.from("PROXY UDP4 1.1.1.1 1.1.1.2 1 2\r\n"), "not TCP4, TCP6 or UNKNOWN"],
  ["UNKNOWNS", Buffer.from("PROXY UNKNOWNS\r\n"), "not TCP4, TCP6 or UNKNOWN"],
  ["version 3", binary(1, 0x11, Buffer.alloc(12), 3), "version 3"],
  ["an unknown command", binary(2, 0x11, Buffer.alloc(12)), "unknown command 2"],
  ["an unknown family", binary(1, 0x41, Buffer.alloc(12)), "family or protocol is unknown"],
  ["an unknown protocol", binary(1, 0x13, Buffer.alloc(12)), "family or protocol is unknown"],
  ["a datagram", binary(1, 0x12, Buffer.alloc(12)), "not of a stream"],
  ["a datagram of AF_UNIX", binary(1, 0x32, Buffer.alloc(216)), "not of a stream"],
  ["addresses that are cut off", binary(1, 0x21, Buffer.alloc(35)), "addresses are cut off"],
  ["a wrong checksum", summed(1, 0x11, Buffer.alloc(12, 7), 1), "checksum is wrong"],
  [
    "an entry that is cut off",
    binary(1, 0x11, Buffer.concat([Buffer.alloc(12), Buffer.from([4, 0, 9, 1])])),
    "cut off",
  ],
  [
    "an entry without a length",
    binary(1, 0x11, Buffer.concat([Buffer.alloc(12), Buffer.from([4])])),
    "cut off",
  ],
  ["4,097 bytes", binary(0, 0, Buffer.alloc(longestHeader - 15)), "longer than 4096 bytes"],
];

/** What a reader that asks again with each byte that comes knows of the header's length, and when. */
const arrived = (bytes: Buffer): { readonly length: number; readonly after: number } => {
  for (let after = 1; after <= bytes.length; after++) {
    const length = lengthOf(bytes.subarray(0, after));
    if (length !== 0) return { length, after };
  }
  return { length: 0, after: bytes.length };
};

describe("a PROXY header", () => {
  it("names the client and what it connected to, whatever stands right behind it", () => {
    fc.assert(
      fc.property(named, fc.uint8Array({ maxLength: 50 }), ({ bytes, said }, behind) => {
        assert.strictEqual(lengthOf(Buffer.concat([bytes, behind])), bytes.length);
        assert.deepStrictEqual(parse(bytes), { addresses: said });
      }),
    );
  });

  it("torn into single bytes has the same length, and is never taken for a wrong one", () => {
    fc.assert(
      fc.property(named, ({ bytes }) => {
        assert.strictEqual(arrived(bytes).length, bytes.length);
      }),
    );
    for (const [what, bytes] of unnamed) assert.strictEqual(arrived(bytes).length, bytes.length, what);
  });

  it("may be one of which only a part of the signature has come: that is no wrong one, nor a whole one", () => {
    for (let length = 0; length < 16; length++) {
      assert.strictEqual(lengthOf(binary(1, 0x11, Buffer.alloc(12)).subarray(0, length)), 0);
    }
    for (let length = 0; length < 6; length++)
      assert.strictEqual(lengthOf(Buffer.from("PROXY ").subarray(0, length)), 0);
  });

  it.each(unnamed)("names nobody: %s", (_what, bytes) => {
    assert.strictEqual(lengthOf(bytes), bytes.length);
    assert.deepStrictEqual(parse(bytes), { addresses: undefined });
  });

  it.each(wrong)("is wrong: %s", (_what, bytes, why) => {
    const { length } = arrived(bytes);
    assert.isTrue(length < 0 || length === bytes.length);
    const header = parse(bytes);
    assert.include("wrong" in header ? header.wrong : "nothing is wrong", why);
  });

  it("that is none is known by its first byte that differs", () => {
    assert.deepStrictEqual(arrived(Buffer.from("GET /")), { length: -1, after: 1 });
    assert.deepStrictEqual(arrived(Buffer.from("PROXZ")), { length: -1, after: 5 });
  });

  it("takes an IPv4-mapped address for the IPv4 address that it carries", () => {
    const header = parse(Buffer.from("PROXY TCP6 ::ffff:192.0.2.7 ::ffff:c000:208 1 2\r\n"));
    assert.deepStrictEqual(header, {
      addresses: { source: { host: "192.0.2.7", port: 1 }, destination: { host: "192.0.2.8", port: 2 } },
    });
  });

  it("of whatever bytes is one, none, or not told yet: nothing throws", () => {
    const noise = fc
      .tuple(
        fc.constantFrom(Buffer.alloc(0), Buffer.from("PROXY "), signature),
        fc.uint8Array({ maxLength: 300 }),
      )
      .map(([start, rest]) => Buffer.concat([start, rest]));
    fc.assert(
      fc.property(noise, (bytes) => {
        assert.isAtMost(lengthOf(bytes), longestHeader);
        parse(bytes);
      }),
    );
  });

  it("that was written is read again, in either version", () => {
    const address = fc.record({
      host: fc.oneof(
        inet.map((bytes) => bytes.join(".")),
        inet6.map(inet6Text),
      ),
      port,
    });
    fc.assert(
      fc.property(
        fc.constantFrom("v1" as const, "v2" as const),
        address,
        address,
        (version, source, destination) => {
          const bytes = encode(version, source, destination);
          assert.strictEqual(lengthOf(bytes), bytes.length);
          assert.deepStrictEqual(parse(bytes), { addresses: { source, destination } });
        },
      ),
    );
  });

  it("that names nobody is written where one of the two is not known", () => {
    const known = { host: "192.0.2.1", port: 1 };
    assert.strictEqual(Buffer.from(encode("v1", known, undefined)).toString(), "PROXY UNKNOWN\r\n");
    assert.deepStrictEqual(encode("v2", { host: "", port: 0 }, known), unknown("v2"));
    for (const version of ["v1", "v2"] as const)
      assert.deepStrictEqual(parse(unknown(version)), { addresses: undefined });
  });

  it("has the longest line in version 1 where both addresses are as long as they can be", () => {
    const longest = { host: "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", port: 65_535 };
    assert.isAtMost(encode("v1", longest, longest).length, 107);
  });

  it("has the CRC32C of RFC 3720", () => {
    // Appendix B.4: 32 bytes of zeros, and of ones. None is taken as 0.
    assert.strictEqual(crc32c(Buffer.alloc(32), 99), 0x8a9136aa);
    assert.strictEqual(crc32c(Buffer.alloc(32, 255), 99), 0x62a8ab43);
    assert.strictEqual(crc32c(Buffer.from("123456789"), 99), 0xe3069283);
  });
});
