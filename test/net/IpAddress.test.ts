import { FastCheck as fc } from "effect";
import { assert, describe, it } from "vitest";
import { canonical } from "../../src/net/IpAddress.js";

describe("IpAddress.canonical", () => {
  it("reads an IPv4-mapped address as the IPv4 address it carries, in every spelling", () => {
    fc.assert(
      fc.property(fc.tuple(fc.nat(255), fc.nat(255), fc.nat(255), fc.nat(255)), ([a, b, c, d]) => {
        const plain = `${a}.${b}.${c}.${d}`;
        const [high, low] = [(a << 8) | b, (c << 8) | d];
        const groups = `${high.toString(16)}:${low.toString(16)}`;
        const padded = `${high.toString(16).padStart(4, "0")}:${low.toString(16).padStart(4, "0")}`;
        const spellings = [
          plain,
          `::ffff:${plain}`,
          `::FFFF:${plain}`,
          `::ffff:${groups}`,
          `::ffff:${padded}`,
          `::FFFF:${padded.toUpperCase()}`,
          `::ffff:${plain}%eth0`,
        ];
        for (const spelling of spellings) assert.strictEqual(canonical(spelling), plain, spelling);
      }),
    );
  });

  it("leaves out the zone and the case of other IPv6 addresses", () => {
    assert.strictEqual(canonical("FE80::ABCD%eth0"), "fe80::abcd");
    assert.strictEqual(canonical("2001:db8::5"), "2001:db8::5");
  });

  it("takes nothing else for a mapped address", () => {
    const others = [
      "::ffff:5",
      "::ffff:0:1.2.3.4",
      "::ffff:0:102:304",
      "::1.2.3.4",
      "64:ff9b::1.2.3.4",
      "::1",
      "::",
    ];
    for (const other of others) assert.strictEqual(canonical(other), other);
  });
});
