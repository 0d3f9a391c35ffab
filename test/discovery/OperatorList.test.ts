import { assert, describe, it } from "@effect/vitest";
import { FastCheck } from "effect";
import type { Answer } from "../../src/discovery/Discovery.js";
import { OperatorList } from "../../src/discovery/OperatorList.js";
import { oversized } from "../../src/json/JsonList.js";
import { format } from "../../src/net/SocketAddress.js";
import { instance, secret } from "../support/OperatorEntry.js";

const read = (entries: ReadonlyArray<unknown>): Answer => {
  const list = new OperatorList();
  for (const [i, entry] of entries.entries()) list.add(entry, i + 1);
  return list.answer;
};

const instances = (answer: Answer) => answer.instances.map(({ id, address }) => `${id} ${format(address)}`);
const skipped = (answer: Answer) => answer.skipped.map(({ entry, why }) => `${entry}: ${why}`);

describe("OperatorList", () => {
  it("takes what it needs of an instance, and does not care for the rest", () => {
    const answer = read([
      instance("a"),
      instance("b", { ip_address: "2001:db8::5", default_port: 65535, resources: "any", brand_new: [1] }),
      { id: "c", ip_address: "10.0.0.3" },
      instance("d", { default_port: 0, state: null, deleted_at: undefined }),
      instance("e", { default_port: null, environment_variables: { not: "text" } }),
    ]);
    assert.deepStrictEqual(instances(answer), [
      "a 10.0.0.1:3000",
      "b [2001:db8::5]:65535",
      "c 10.0.0.3:8080",
      "d 10.0.0.1:8080",
      "e 10.0.0.1:8080",
    ]);
    assert.deepStrictEqual(answer.skipped, []);
  });

  it("skips each bad entry by name, and lets the rest stand", () => {
    const bad: ReadonlyArray<readonly [unknown, string]> = [
      [null, "number 2 in the list: it is not an object"],
      ["text", "number 2 in the list: it is not an object"],
      [[], "number 2 in the list: it is not an object"],
      [{}, "number 2 in the list: id is missing"],
      [{ ip_address: "10.0.0.1" }, "the one at 10.0.0.1: id is missing"],
      [instance("x", { id: 7 }), "the one at 10.0.0.1: id is not text"],
      [instance("x", { id: "" }), "the one at 10.0.0.1: id: it is not a text of at least one character"],
      [{ id: "x" }, "x: ip_address is missing"],
      [instance("x", { ip_address: null }), "x: ip_address is not text"],
      [instance("x", { ip_address: "" }), 'x: ip_address: "" is not an IP address'],
      [instance("x", { ip_address: "web.internal" }), 'x: ip_address: "web.internal" is not an IP address'],
      [instance("x", { ip_address: "10.0.0.300" }), 'x: ip_address: "10.0.0.300" is not an IP address'],
      [instance("x", { ip_address: "[::1]" }), 'x: ip_address: "[::1]" is not an IP address'],
      [instance("x", { ip_address: "0.0.0.0" }), "x: ip_address: 0.0.0.0 is the unspecified address"],
      [instance("x", { ip_address: "::" }), "x: ip_address: :: is the unspecified address"],
      [
        instance("x", { default_port: 65536 }),
        "x: default_port: 65536 is not a whole number from 1 to 65535",
      ],
      [instance("x", { default_port: -1 }), "x: default_port: -1 is not a whole number from 1 to 65535"],
      [instance("x", { default_port: 80.5 }), "x: default_port: 80.5 is not a whole number from 1 to 65535"],
      [instance("x", { default_port: "80" }), "x: default_port is not a number"],
      [instance("x", { state: "stopped" }), "x: its state is stopped, not running"],
      [instance("x", { state: "pending", ip_address: null }), "x: its state is pending, not running"],
      [instance("x", { state: "" }), "x: its state is empty, not running"],
      [instance("x", { state: 1 }), "x: state is not text"],
      [instance("x", { deleted_at: "2025-08-23T12:48:09Z" }), "x: it is deleted"],
      [instance("x\n", {}), "x\ufffd: id: it has characters that cannot be printed"],
      [instance("x".repeat(256), {}), `${"x".repeat(80)}…: id: it is longer than 255 characters`],
    ];
    for (const [entry, expected] of bad) {
      const answer = read([instance("a"), entry, instance("b")]);
      assert.deepStrictEqual(instances(answer), ["a 10.0.0.1:3000", "b 10.0.0.1:3000"], expected);
      assert.deepStrictEqual(skipped(answer), [expected]);
    }
  });

  it("lets the same one of a duplicate id count, in whatever order they come", () => {
    const entries = [instance("a", { ip_address: "10.0.0.2" }), instance("a"), instance("b")];
    const expected = ["a 10.0.0.1:3000", "b 10.0.0.1:3000"];
    const answer = read(entries);
    assert.deepStrictEqual(instances(answer), expected);
    assert.deepStrictEqual(skipped(answer), [
      "a: its id is listed more than once; the one at 10.0.0.1:3000 counts",
    ]);
    FastCheck.assert(
      FastCheck.property(FastCheck.shuffledSubarray(entries, { minLength: 3 }), (shuffled) => {
        assert.deepStrictEqual(instances(read(shuffled)).sort(), expected);
      }),
    );
    // One that is no backend takes nobody's place.
    assert.deepStrictEqual(skipped(read([instance("a", { state: "stopped" }), instance("a")])), [
      "a: its state is stopped, not running",
    ]);
  });

  it("never breaks and never prints environment variables, whatever the list holds", () => {
    const field = FastCheck.oneof(
      FastCheck.jsonValue(),
      FastCheck.constantFrom("running", "10.0.0.1", "::1", 80, 0, null, undefined),
    );
    const entry = FastCheck.oneof(
      FastCheck.jsonValue(),
      FastCheck.record(
        { id: field, ip_address: field, default_port: field, state: field, deleted_at: field },
        { requiredKeys: [] },
      ).map((some) => ({ ...some, environment_variables: { KEY: secret } })),
    );
    FastCheck.assert(
      FastCheck.property(FastCheck.array(entry), (entries) => {
        const answer = read(entries);
        assert.strictEqual(answer.instances.length + answer.skipped.length, entries.length);
        assert.strictEqual(new Set(answer.instances.map(({ id }) => id)).size, answer.instances.length);
        for (const line of skipped(answer)) {
          assert.notInclude(line, secret);
          assert.notMatch(line, /[\p{Cc}\p{Zl}\p{Zp}]/u);
          assert.isBelow(line.length, 400);
        }
      }),
    );
  });

  it("does not name a hundred thousand bad entries one by one", () => {
    const answer = read([...Array.from({ length: 100_000 }, () => 0), instance("a")]);
    assert.deepStrictEqual(instances(answer), ["a 10.0.0.1:3000"]);
    assert.isBelow(answer.skipped.length, 2000);
    assert.strictEqual(answer.skipped.at(-1)?.entry, "others");
  });

  it("tells entries that are malformed from those that are no backends now", () => {
    const inactive = [
      instance("a", { state: "stopped" }),
      instance("b", { deleted_at: "2025-08-23T12:48:09Z" }),
      instance("c", { state: "pending", ip_address: null }),
    ];
    assert.isTrue(read(inactive).skipped.every(({ malformed }) => !malformed));
    const malformed = [
      0,
      null,
      {},
      oversized,
      instance("a", { ip_address: "" }),
      instance("b", { default_port: "1" }),
    ];
    assert.isTrue(read(malformed).skipped.every(({ malformed }) => malformed));
    // Also where it is the last of more than are named one by one.
    const many = Array.from({ length: 5000 }, (_, i) => instance(`x${i}`, { state: "stopped" }));
    assert.isFalse(read(many).skipped.some(({ malformed }) => malformed));
    assert.isTrue(read([...many, 0]).skipped.some(({ malformed }) => malformed));
  });

  it("takes a zone of an interface, and none that is longer than an interface's name", () => {
    const at = (zone: string) => read([instance("a", { ip_address: `fe80::1%${zone}` })]);
    assert.deepStrictEqual(instances(at("eth0")), ["a [fe80::1%eth0]:3000"]);
    assert.lengthOf(at("x".repeat(15)).instances, 1);
    const long = at("x".repeat(100_000));
    assert.lengthOf(long.instances, 0);
    assert.isTrue(long.skipped.every(({ malformed, why }) => malformed && why.length < 200));
  });

  it("takes weight, max_connections and backup; a wrong value counts as absent, and is named", () => {
    const answer = read([
      instance("a", { weight: 0, max_connections: 1, backup: true }),
      instance("b", { weight: 256, max_connections: 1_000_000, backup: false }),
      instance("c", { weight: null, max_connections: null, backup: null }),
      instance("d"),
      instance("e", { weight: "3", max_connections: 0, backup: "yes" }),
      instance("f", { weight: 2.5, max_connections: 7 }),
    ]);
    assert.deepStrictEqual(
      answer.instances.map(({ limit, role, weight }) => [weight, limit, role]),
      [
        [0, 1, "backup"],
        [256, 1_000_000, "primary"],
        [undefined, undefined, undefined],
        [undefined, undefined, undefined],
        [undefined, undefined, undefined],
        [undefined, 7, undefined],
      ],
    );
    assert.deepStrictEqual(answer.ignored, [
      { entry: "e", why: "weight is not a whole number from 0 to 256" },
      { entry: "e", why: "max_connections is not a whole number from 1 to 1000000" },
      { entry: "e", why: "backup is neither true nor false" },
      { entry: "f", why: "weight is not a whole number from 0 to 256" },
    ]);
    assert.deepStrictEqual(answer.skipped, []);
  });
});
