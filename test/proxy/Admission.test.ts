import { FastCheck as fc } from "effect";
import { assert, describe, it } from "vitest";
import { CidrSet, parse } from "../../src/net/CidrSet.js";
import { Admission, type Denial, make } from "../../src/proxy/Admission.js";
import { ClientKeys } from "../../src/proxy/ClientKey.js";

const setOf = (text: string): CidrSet => {
  const set = parse(text);
  return set instanceof CidrSet ? set : assert.fail(set.wrong);
};

/** Clients, with who each of them is to a limit. */
const clients = [
  ["10.0.0.1", "a"],
  ["::ffff:10.0.0.1", "a"],
  ["10.0.0.2", "b"],
  ["2001:db8:0:1::1", "c"],
  ["2001:db8:0:1:ffff::2", "c"],
  ["2001:db8:0:2::1", "d"],
] as const;
const client = fc.constantFrom(...clients);

describe("ClientKeys", () => {
  it("takes an IPv6 client for its /64, and an IPv4-mapped one for the IPv4 client", () => {
    const keys = new ClientKeys();
    for (const [one, its] of clients) {
      for (const [other, others] of clients) {
        assert.strictEqual(keys.of(one) === keys.of(other), its === others, `${one} and ${other}`);
      }
    }
  });
});

describe("Admission with a limit for each client", () => {
  it("admits as many at a time as the limit says, whatever comes and goes, and forgets who has left", () => {
    const come = client.map(([host, who]) => ({ _tag: "come" as const, host, who }));
    const leave = fc.nat().map((which) => ({ _tag: "leave" as const, which }));
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 4 }), fc.array(fc.oneof(come, leave)), (most, steps) => {
        const admission = new Admission({ maxPerClient: most });
        const open: Array<{ readonly host: string; readonly who: string }> = [];
        for (const step of steps) {
          if (step._tag === "come") {
            const full = open.filter(({ who }) => who === step.who).length >= most;
            assert.strictEqual(admission.admit(step.host, 0), full ? "client-limit" : undefined);
            if (!full) open.push(step);
          } else {
            const [left] = open.splice(step.which % Math.max(1, open.length), 1);
            if (left !== undefined) admission.leave(left.host);
          }
        }
      }),
    );
  });

  it("lets a client in again that was turned away often, once one of its connections has ended", () => {
    const admission = new Admission({ maxPerClient: 1 });
    assert.isUndefined(admission.admit("10.0.0.1", 0));
    for (let i = 0; i < 100; i++) assert.strictEqual(admission.admit("10.0.0.1", 0), "client-limit");
    admission.leave("10.0.0.1");
    assert.isUndefined(admission.admit("10.0.0.1", 0));
  });
});

describe("Admission", () => {
  const lists = fc.record({
    allow: fc.option(fc.constantFrom("10.0.0.0/31", "2001:db8::/48", "10.0.0.2,2001:db8:0:2::/64"), {
      nil: undefined,
    }),
    deny: fc.option(fc.constantFrom("10.0.0.1", "2001:db8:0:1::/64", "0.0.0.0/0"), { nil: undefined }),
  });

  it("denies who is on the list of the denied, and who is not on that of the allowed where there is one", () => {
    fc.assert(
      fc.property(lists, client, ({ allow, deny }, [host]) => {
        const [allowed, denied] = [allow, deny].map((text) => (text === undefined ? undefined : setOf(text)));
        const expected = denied?.has(host) || allowed?.has(host) === false ? "denied" : undefined;
        assert.strictEqual(new Admission({ allow: allowed, deny: denied }).admit(host, 0), expected);
      }),
    );
  });

  it("counts nobody who is turned away: neither the denied towards a limit, nor who is over a limit towards the rate", () => {
    const admission = new Admission({
      deny: setOf("10.0.0.9"),
      maxPerClient: 1,
      ratePerClient: { count: 2, per: "minute" },
    });
    const come = (): Denial | undefined => admission.admit("10.0.0.1", 0);
    for (let i = 0; i < 5; i++) assert.strictEqual(admission.admit("10.0.0.9", 0), "denied");
    assert.isUndefined(come());
    for (let i = 0; i < 5; i++) assert.strictEqual(come(), "client-limit");
    admission.leave("10.0.0.1");
    // Who was over the limit has taken no token: there is one left.
    assert.isUndefined(come());
    admission.leave("10.0.0.1");
    for (let i = 0; i < 5; i++) assert.strictEqual(come(), "client-rate");
    // Who was over the rate has taken no place.
    assert.isUndefined(admission.admit("10.0.0.1", 30_000));
  });

  it("is not there where nothing is set", () => {
    assert.isUndefined(make({}));
    assert.isUndefined(make({ allow: undefined, maxPerClient: undefined }));
    assert.isDefined(make({ maxPerClient: 1 }));
  });
});
