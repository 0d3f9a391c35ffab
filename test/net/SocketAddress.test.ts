import { FastCheck as fc } from "effect";
import { assert, describe, it } from "vitest";
import { format, isHostName, parse } from "../../src/net/SocketAddress.js";

const name = fc.domain();
const host = fc.oneof(fc.ipV4(), fc.ipV6(), name);
const port = fc.integer({ min: 1, max: 65535 });

const wrongOf = (text: string): string => {
  const read = parse(text);
  return "wrong" in read ? read.wrong : assert.fail(`${text} was read as ${format(read)}`);
};

describe("SocketAddress", () => {
  it("reads back what it writes", () => {
    fc.assert(
      fc.property(fc.record({ host, port }), (address) => {
        assert.deepStrictEqual(parse(format(address)), address);
      }),
    );
  });

  it("puts brackets around IPv6 addresses and nothing else", () => {
    assert.strictEqual(format({ host: "10.0.0.1", port: 80 }), "10.0.0.1:80");
    assert.strictEqual(format({ host: "2001:db8::5", port: 80 }), "[2001:db8::5]:80");
    assert.strictEqual(format({ host: "db.internal", port: 5432 }), "db.internal:5432");
  });

  it("never throws, and what it reads it can write and read again", () => {
    const part = fc.constantFrom("[", "]", ":", "::", ".", "10", "a", "1", "-", "_", "%", " ", "65536", "80");
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.array(part).map((parts) => parts.join("")),
        ),
        (text) => {
          const read = parse(text);
          if (!("wrong" in read)) assert.deepStrictEqual(parse(format(read)), read);
        },
      ),
      { numRuns: 2000 },
    );
  });

  it("names the port when it is out of range", () => {
    for (const text of ["10.0.0.1:0", "10.0.0.1:65536", "[::1]:99999"]) {
      assert.include(wrongOf(text), text.slice(text.lastIndexOf(":") + 1));
    }
  });

  it("asks for brackets where an IPv6 address has none", () => {
    assert.include(wrongOf("2001:db8::5"), "brackets");
    assert.include(wrongOf("::1"), "brackets");
  });

  it("refuses what is neither an address nor a name", () => {
    const bad = [
      ...["", ":", ":80", "10.0.0.1", "10.0.0.1:", "10.0.0.1:http", "10.0.0.1:+80", "10.0.0.1: 80", "a:b:80"],
      ...["10.0.0.300:80", "1.2.3:80", "010.0.0.1:80", "-a.example:80", "a..b:80", "a b:80", ".:80"],
      ...[
        "[10.0.0.1]:80",
        "[]:80",
        "[::1]",
        "[::1]80",
        "[::g]:80",
        "http://a:80",
        "a/b:80",
        "10.0.0.1:123456",
      ],
    ];
    for (const text of bad) assert.isNotEmpty(wrongOf(text), text);
  });

  it("knows a host name from a number", () => {
    for (const good of ["localhost", "a-b.example", "_tcp.db", "a.", "3com.example", "x".repeat(63)]) {
      assert.isTrue(isHostName(good), good);
    }
    for (const bad of [
      "",
      ".",
      "1",
      "10.0.0.300",
      "a-",
      "-a",
      "a..b",
      "x".repeat(64),
      `${"ab.".repeat(90)}c`,
    ]) {
      assert.isFalse(isHostName(bad), bad);
    }
  });
});
