import { existsSync, readdirSync, readFileSync } from "node:fs";
import { SocketAddress as NodeAddress } from "node:net";
import { assert, describe, it } from "@effect/vitest";
import { FastCheck as fc } from "effect";
import { canonical } from "../../../src/net/IpAddress.js";
import { format, parse } from "../../../src/transport/linux/InetAddress.js";
import {
  AF_INET,
  AF_INET6,
  addressSize,
  epollEventOf,
  errnoName,
  readAddress,
  writeAddress,
} from "../../../src/transport/linux/Libc.js";

const port = fc.integer({ min: 0, max: 65_535 });
// Mostly zeros, so that there are runs of them to leave out.
const group = fc.oneof(fc.constant(0), fc.constant(0), fc.integer({ min: 0, max: 0xffff }));
const inet6 = fc.array(group, { minLength: 8, maxLength: 8 });

describe("InetAddress", () => {
  it("writes IPv6 addresses as Node does, and reads them again", () => {
    fc.assert(
      fc.property(inet6, port, (groups, port) => {
        const text = groups.map((value) => value.toString(16)).join(":");
        const raw = parse({ host: text, port });
        assert.isDefined(raw);
        if (raw === undefined) return;
        const told = format(raw);
        const model = canonical(new NodeAddress({ address: text, family: "ipv6" }).address);
        // The form with dots of the IPv4-compatible addresses of RFC 4291 section 2.5.5.1 is deprecated.
        if (!model.includes(".") || !told.host.includes(":")) assert.strictEqual(told.host, model);
        assert.strictEqual(told.port, port);
        assert.deepStrictEqual(told.host.includes(":") ? parse(told) : raw, raw);
      }),
    );
  });

  it("carries IPv4 addresses through the bytes of the kernel", () => {
    fc.assert(
      fc.property(fc.ipV4(), port, (host, port) => {
        const block = { bytes: new Uint8Array(addressSize), address: 0 };
        const raw = parse({ host, port });
        assert.isDefined(raw);
        if (raw === undefined) return;
        assert.strictEqual(writeAddress(block, raw), 16);
        assert.deepStrictEqual(
          [...block.bytes.subarray(2, 8)],
          [port >> 8, port & 255, ...host.split(".").map(Number)],
        );
        const read = readAddress(block);
        assert.deepStrictEqual(read, raw);
        assert.deepStrictEqual(format(raw), { host, port });
      }),
    );
  });

  it("carries IPv6 addresses through the bytes of the kernel, with their interface", () => {
    fc.assert(
      fc.property(inet6, port, fc.integer({ min: 1, max: 2 ** 32 - 1 }), (groups, port, scope) => {
        const block = { bytes: new Uint8Array(addressSize), address: 0 };
        const raw = parse({ host: `${groups.map((value) => value.toString(16)).join(":")}%${scope}`, port });
        assert.isDefined(raw);
        if (raw === undefined) return;
        assert.strictEqual(writeAddress(block, raw), 28);
        assert.deepStrictEqual(readAddress(block), raw);
        assert.strictEqual(raw.scope, scope);
        assert.strictEqual(raw.family, AF_INET6);
      }),
    );
  });

  it("finds the interface that a zone names without netlink, and none where there is none", () => {
    const scope = (zone: string) => parse({ host: `fe80::1%${zone}`, port: 1 })?.scope;
    for (const name of readdirSync("/sys/class/net")) {
      if (name.length > 15 || !existsSync(`/sys/class/net/${name}/ifindex`)) continue;
      assert.strictEqual(scope(name), Number(readFileSync(`/sys/class/net/${name}/ifindex`, "utf8")));
    }
    // The loopback interface is the first of each network namespace.
    assert.strictEqual(scope("lo"), 1);
    for (const zone of ["nope", "..", "."]) assert.strictEqual(scope(zone), 0);
  });

  it("tells an IPv4 client on an IPv6 listener by its IPv4 address", () => {
    const raw = parse({ host: "::ffff:10.1.2.3", port: 7 });
    assert.strictEqual(raw?.family, AF_INET6);
    assert.deepStrictEqual(raw && format(raw), { host: "10.1.2.3", port: 7 });
  });

  it("is not misled by what is no IP address", () => {
    for (const host of ["localhost", "", "10.0.0", "10.0.0.256", "::g", "[::1]"]) {
      assert.isUndefined(parse({ host, port: 1 }));
    }
    assert.isUndefined(readAddress({ bytes: new Uint8Array(addressSize), address: 0 }));
    assert.strictEqual(AF_INET, 2);
  });
});

describe("Libc", () => {
  it("knows epoll_event packed on x86-64, and aligned everywhere else", () => {
    assert.deepStrictEqual(epollEventOf("x64"), { words: 3, events: 0, fd: 1, incarnation: 2 });
    assert.deepStrictEqual(epollEventOf("arm64"), { words: 4, events: 0, fd: 2, incarnation: 3 });
  });

  it("has a word for every errno", () => {
    assert.strictEqual(errnoName(-104), "ECONNRESET");
    assert.strictEqual(errnoName(111), "ECONNREFUSED");
    assert.strictEqual(errnoName(-9999), "errno 9999");
  });
});
