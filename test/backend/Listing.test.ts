import { assert, describe, it } from "vitest";
import type { Instance } from "../../src/backend/Backend.js";
import { compare, longestId, problemOf } from "../../src/backend/Listing.js";
import { empty } from "../../src/balancing/Members.js";

const good: Instance = { id: "a", address: { host: "10.0.0.1", port: 80 } };
const at = (host: string, port: number): Instance => ({ ...good, address: { host, port } });

describe("an instance", () => {
  it.each([
    ["id", { ...good, id: "" }],
    ["id", { ...good, id: "x".repeat(longestId + 1) }],
    ["id", { ...good, id: "two\nlines" }],
    ["id", { ...good, id: "\u202egnp.exe" }],
    ["name", { ...good, name: "" }],
    ["name", { ...good, name: "x".repeat(300) }],
    ["name", { ...good, name: "web:80\u001b[2J" }],
    ["host", at("localhost", 80)],
    ["host", at("0.0.0.0", 80)],
    ["host", at("::", 80)],
    ["host", at("::ffff:0.0.0.0", 80)],
    ["host", at("10.0.0.300", 80)],
    ["host", at("[::1]", 80)],
    ["host", at(`fe80::1%${"z".repeat(10_000)}`, 80)],
    ["port", at("10.0.0.1", 91036)],
    ["port", at("10.0.0.1", 0)],
    ["port", at("10.0.0.1", 80.5)],
    ["port", at("10.0.0.1", Number.NaN)],
    ["weight", { ...good, weight: 257 }],
    ["weight", { ...good, weight: -1 }],
    ["weight", { ...good, weight: 1.5 }],
    ["limit", { ...good, limit: 0 }],
    ["limit", { ...good, limit: Number.POSITIVE_INFINITY }],
    ["role", { ...good, role: "spare" as "backup" }],
  ] as const)("with a wrong %s cannot be a backend", (field, instance) => {
    assert.strictEqual(problemOf(instance)?.field, field);
  });

  it.each([
    good,
    { ...good, id: "x".repeat(longestId) },
    { ...good, id: "Zürich 1" },
    { ...good, name: `${"x".repeat(253)}:65535` },
    at("::1", 65535),
    { ...good, weight: 0, limit: 1, role: "backup" as const },
    { ...good, weight: 256, limit: 1_000_000, role: "primary" as const },
    at("fe80::1%eth0", 1),
  ])("with an id that can be printed, an IP address and a port can", (instance) => {
    assert.isUndefined(problemOf(instance));
  });
});

describe("a list", () => {
  it("is compared in slices, and names each instance once", () => {
    const instances = Array.from({ length: 10_000 }, (_, i) => at(`10.0.${(i >> 8) & 255}.${i & 255}`, 80));
    const slices = compare(empty, [...instances, ...instances, at("localhost", 80)], Infinity);
    let yields = 0;
    let slice = slices.next();
    for (; slice.done !== true; slice = slices.next()) yields += 1;
    assert.isAtLeast(yields, 20_000 / 1_000);
    assert.strictEqual(slice.value.arrivals.length, instances.length);
    assert.deepStrictEqual(
      slice.value.invalid.map(({ field }) => field),
      ["host"],
    );
  });
});
