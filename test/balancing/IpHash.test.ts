import { FastCheck as fc } from "effect";
import { afterEach, assert, describe, it } from "vitest";
import { bucketOf, buckets, ipHash, type Places, type State } from "../../src/balancing/IpHash.js";
import * as Load from "../../src/balancing/Load.js";
import * as Members from "../../src/balancing/Members.js";
import * as Support from "../support/Members.js";
import { type Chooser, changed, type Group, groupOf, joined, left } from "../support/Members.js";

const unprepared = Support.chooser(ipHash);

const prepared = (group: Group, chooser: Chooser = unprepared): Chooser => Support.prepared(chooser, group);

const chosenBy = (chooser: Chooser, group: Group, host: string): string | undefined =>
  Support.chosen(chooser, group, host)[0]?.key;

const membersOf = ({ members }: Group): ReadonlyArray<Members.Member> => Members.toArray(members);

const without = (group: Group, key: string): Group => {
  const gone = membersOf(group).find((member) => member.key === key);
  return gone === undefined ? group : left(group, gone.slot);
};

const ipv4 = (n: number): string => `${(n >>> 24) & 255}.${(n >>> 16) & 255}.${(n >>> 8) & 255}.${n & 255}`;

// An address for every bucket, so that whole tables can be compared through the public face.
const hostOfBucket: ReadonlyArray<string> = (() => {
  const hosts = new Array<string>(buckets);
  for (let n = 0x0a000000, found = 0; found < buckets; n++) {
    const host = ipv4(n);
    const bucket = bucketOf(host);
    if (hosts[bucket] === undefined) {
      hosts[bucket] = host;
      found += 1;
    }
  }
  return hosts;
})();

const everyHost = (use: (host: string) => void): void => {
  for (const host of hostOfBucket) use(host);
};

const shares = (chooser: Chooser, group: Group, hosts: ReadonlyArray<string>): Map<string, number> => {
  const counts = new Map(membersOf(group).map(({ key }) => [key, 0]));
  for (const host of hosts) {
    const key = chosenBy(chooser, group, host) ?? assert.fail("nothing was chosen");
    counts.set(key, (counts.get(key) ?? 0) + 1);
  }
  return counts;
};

const largestOverMean = (counts: ReadonlyMap<string, number>): number => {
  const all = [...counts.values()];
  return (Math.max(...all) * all.length) / all.reduce((sum, count) => sum + count, 0);
};

// Realistic keys: some backends on one host with ports in a row, some on hosts in a row.
const onePort = (n: number): ReadonlyArray<string> =>
  Array.from({ length: n }, (_, i) => `10.0.0.${i + 1}:3000 web-${i + 1}`);
const oneHost = (n: number): ReadonlyArray<string> =>
  Array.from({ length: n }, (_, i) => `10.0.0.1:${3000 + i} web-${i}`);

const key = fc.tuple(fc.ipV4(), fc.nat(65535), fc.uuid()).map(([host, port, id]) => `${host}:${port} ${id}`);
const keys = (constraints: { readonly minLength: number; readonly maxLength: number }) =>
  fc.uniqueArray(key, { ...constraints, size: "max" });
const someHosts = fc.array(fc.oneof(fc.ipV4(), fc.ipV6()), { minLength: 200, maxLength: 200 });

// The event loop has a turn between two tests, for the runner: it takes a worker that is silent for a minute for lost.
afterEach(() => new Promise<void>((resolve) => setImmediate(resolve)));

describe("ip-hash", () => {
  it("chooses nothing where there is nothing, and the only one where there is one", () => {
    const none = groupOf([]);
    const one = groupOf(["a"]);
    for (const algorithm of [unprepared, prepared(none), prepared(one)]) {
      assert.isUndefined(chosenBy(algorithm, none, "10.1.2.3"));
      assert.strictEqual(chosenBy(algorithm, one, "10.1.2.3"), "a");
    }
    const [only] = membersOf(one);
    if (only === undefined) return assert.fail();
    assert.isUndefined(chosenBy(prepared(one), changed(one, only.slot, { eligible: false }), "10.1.2.3"));
  });

  it("sends an IPv4 client and its IPv4-mapped spellings to the same backend", () => {
    const group = groupOf(onePort(10));
    const algorithm = prepared(group);
    for (const [plain, ...mapped] of [
      [
        "10.0.1.5",
        "::ffff:10.0.1.5",
        "::FFFF:10.0.1.5",
        "::ffff:a00:105",
        "::ffff:0a00:0105",
        "::FFFF:0A00:0105",
      ],
      ["192.168.255.254", "::ffff:192.168.255.254", "::ffff:c0a8:fffe", "::FFFF:C0A8:FFFE"],
    ]) {
      for (const spelling of mapped) {
        assert.strictEqual(bucketOf(spelling), bucketOf(plain ?? ""), spelling);
        assert.strictEqual(chosenBy(algorithm, group, spelling), chosenBy(algorithm, group, plain ?? ""));
      }
    }
  });

  it("agrees with its own table before the table is built", () => {
    for (const [group, hosts] of [
      [groupOf(["b", "a"]), hostOfBucket.slice(0, 50_000)],
      [groupOf(oneHost(10)), hostOfBucket.slice(0, 50_000)],
      // As many as make ties (two that rank a bucket alike) a matter of course, and not in the order of keys.
      [groupOf([...onePort(500)].reverse()), hostOfBucket.slice(0, 1_500)],
    ] as const) {
      const algorithm = prepared(group);
      for (const host of hosts) {
        if (chosenBy(algorithm, group, host) !== chosenBy(unprepared, group, host)) {
          assert.fail(`${host} is placed in two ways`);
        }
      }
    }
  });

  it("settles ties alike, with a table and by asking, whatever order the backends were learnt in", () => {
    // The table of `other` has every key in another slot, so for `one` it asks all, and knows their preferences.
    // Descending keys: whoever settled a tie by the order of slots would be wrong each time.
    const sets = [
      ...Array.from({ length: 6 }, (_, i) => ({
        set: oneHost(10).map((key) => key.replace("10.0.0.1", `10.0.${i}.1`)),
        hosts: 60_000,
      })),
      { set: onePort(500), hosts: 5_000 },
    ];
    for (const { set, hosts } of sets) {
      const one = groupOf([...set].sort().reverse());
      const other = groupOf([...set].sort());
      const [tableOfOne, tableOfOther] = [prepared(one), prepared(other)];
      for (const host of hostOfBucket.slice(0, hosts)) {
        const owner = chosenBy(tableOfOne, one, host);
        if (chosenBy(tableOfOther, other, host) !== owner) assert.fail(`${host}: two tables differ`);
        if (chosenBy(tableOfOther, one, host) !== owner)
          assert.fail(`${host}: asking differs from the table`);
      }
    }
  });

  it("settles ties alike between tables of thousands, whose keys are sorted in parts", () => {
    const set = [...onePort(3_000)].sort();
    const everyOther = [0, 1].flatMap((parity) => set.filter((_, i) => i % 2 === parity));
    const [one, other] = [groupOf(set), groupOf(everyOther)];
    const [tableOfOne, tableOfOther] = [prepared(one), prepared(other)];
    for (const host of hostOfBucket.slice(0, 20_000)) {
      if (chosenBy(tableOfOne, one, host) !== chosenBy(tableOfOther, other, host)) assert.fail(host);
    }
  });

  it("agrees between balancers that learnt the same backends in another order, with a table and without", () => {
    const both = keys({ minLength: 1, maxLength: 30 }).chain((some) =>
      fc.tuple(fc.constant(some), fc.shuffledSubarray(some, { minLength: some.length })),
    );
    fc.assert(
      fc.property(both, someHosts, ([some, shuffled], hosts) => {
        const [one, other] = [groupOf(some), groupOf(shuffled)];
        const [tableOfOne, tableOfOther] = [prepared(one), prepared(other)];
        for (const host of hosts) {
          const owner = chosenBy(tableOfOne, one, host);
          assert.strictEqual(chosenBy(tableOfOther, other, host), owner);
          assert.strictEqual(chosenBy(unprepared, other, host), owner);
        }
      }),
      { numRuns: 30 },
    );
  });

  it("moves only the clients of the backend that leaves, to where the new table will have them", () => {
    const all = oneHost(10);
    const group = groupOf(all);
    const before = prepared(group);
    const lost = all[3] ?? "";
    const rest = without(group, lost);
    const after = prepared(rest, before);
    everyHost((host) => {
      const was = chosenBy(before, group, host);
      const meanwhile = chosenBy(before, rest, host);
      if (was !== lost && meanwhile !== was) assert.fail(`${host} was moved by another backend's leaving`);
      if (meanwhile === lost) assert.fail(`${host} is left with a backend that is gone`);
      if (chosenBy(after, rest, host) !== meanwhile)
        assert.fail(`${host} moves once more when the table is new`);
    });
    // What it had is shared by all that stay, and not given to one of them.
    const heirs = shares(
      after,
      rest,
      hostOfBucket.filter((host) => chosenBy(before, group, host) === lost),
    );
    assert.isBelow(largestOverMean(heirs), 1.1);
  });

  it("treats a backend that is down like one that left, and gives it its clients back", () => {
    const group = groupOf(onePort(10));
    const before = prepared(group);
    const failed = membersOf(group)[7];
    if (failed === undefined) return assert.fail();
    const down = changed(group, failed.slot, { eligible: false });
    const gone = left(group, failed.slot);
    const tableWhileDown = prepared(down, before);
    everyHost((host) => {
      const heir = chosenBy(before, down, host);
      if (heir !== chosenBy(before, gone, host)) assert.fail(`${host} is placed in two ways`);
      if (heir !== chosenBy(tableWhileDown, down, host)) assert.fail(`${host} moves when the table is new`);
    });
    const again = prepared(group, tableWhileDown);
    everyHost((host) => {
      if (chosenBy(again, group, host) !== chosenBy(before, group, host))
        assert.fail(`${host} did not come back`);
    });
  });

  it("lets a backend that joins take clients, and moves nobody else", () => {
    const group = groupOf(onePort(9));
    const newcomer = "10.0.0.99:3000 web-99";
    const more = joined(group, newcomer);
    const before = prepared(group);
    const after = prepared(more, before);
    let taken = 0;
    everyHost((host) => {
      const now = chosenBy(after, more, host);
      if (now === newcomer) taken += 1;
      else if (now !== chosenBy(before, group, host))
        assert.fail(`${host} moved between backends that stayed`);
      if (chosenBy(before, more, host) !== now) assert.fail(`${host} moves once more when the table is new`);
    });
    assert.approximately(taken / buckets, 0.1, 0.002);
  });

  it("holds all that for any backends", () => {
    fc.assert(
      fc.property(
        keys({ minLength: 2, maxLength: 40 }),
        fc.nat(),
        key,
        someHosts,
        (some, which, newcomer, hosts) => {
          fc.pre(!some.includes(newcomer));
          const lost = some[which % some.length] ?? "";
          const group = groupOf(some);
          const rest = without(group, lost);
          // The one that joins gets the slot of the one that left: the slot alone must not decide.
          const replaced = joined(rest, newcomer);
          const before = prepared(group);
          const after = prepared(replaced, before);
          for (const host of hosts) {
            const was = chosenBy(before, group, host);
            const now = chosenBy(after, replaced, host);
            assert.isTrue(now === was || was === lost || now === newcomer, host);
            if (was === lost) assert.strictEqual(chosenBy(before, replaced, host), now);
            assert.strictEqual(chosenBy(unprepared, replaced, host), now);
          }
        },
      ),
      { numRuns: 30 },
    );
  });

  it("answers alike whatever group its table was built for", () => {
    // A backend goes down and returns while the table without it is being built; another joins meanwhile.
    fc.assert(
      fc.property(
        keys({ minLength: 1, maxLength: 4 }),
        fc.array(fc.tuple(fc.nat(), fc.constantFrom("toggle", "prepare", "install")), {
          minLength: 25,
          maxLength: 25,
        }),
        fc.array(fc.ipV4(), { minLength: 30, maxLength: 30 }),
        (some, steps, hosts) => {
          let group = groupOf(some);
          let algorithm = unprepared;
          let built = unprepared;
          for (const [which, step] of steps) {
            const member = membersOf(group)[which % some.length] ?? assert.fail();
            if (step === "toggle") group = changed(group, member.slot, { eligible: !member.eligible });
            else if (step === "prepare") built = prepared(group, algorithm);
            else algorithm = built;
            for (const host of hosts) {
              assert.strictEqual(chosenBy(algorithm, group, host), chosenBy(unprepared, group, host), host);
              algorithm = Support.chosen(algorithm, group, host)[1];
            }
          }
        },
      ),
      { numRuns: 30 },
    );
  });

  it("gives no backend of ten more than 1.02 times its share of the buckets", () => {
    // FastCheck's own seed would make this a matter of luck, a few times in a million: the seed is fixed.
    const sets = fc.sample(keys({ minLength: 10, maxLength: 10 }), { numRuns: 50, seed: 20260101 });
    for (const set of [onePort(10), oneHost(10), Array.from({ length: 10 }, (_, i) => `${i}`), ...sets]) {
      const group = groupOf(set);
      const ratio = largestOverMean(shares(prepared(group), group, hostOfBucket));
      assert.isAtMost(ratio, 1.02, set.join(", "));
    }
  });

  it("spreads neighbouring clients over neighbouring backends", () => {
    // Chi-square with 9 degrees of freedom exceeds 33 once in ten thousand even spreads.
    const sequences: Record<string, ReadonlyArray<string>> = {
      "one /24": Array.from({ length: 254 }, (_, i) => `10.1.2.${i + 1}`),
      "another /24": Array.from({ length: 254 }, (_, i) => `192.168.0.${i + 1}`),
      "the same host number in many networks": Array.from({ length: 256 }, (_, i) => `10.1.${i}.7`),
      "a /16": Array.from({ length: 65536 }, (_, i) => `172.16.${i >> 8}.${i & 255}`),
      "IPv6 in a row": Array.from({ length: 4096 }, (_, i) => `2001:db8::${(i + 1).toString(16)}`),
      "IPv6 networks in a row": Array.from({ length: 4096 }, (_, i) => `2001:db8:0:${i.toString(16)}::1`),
    };
    for (const set of [onePort(10), oneHost(10)]) {
      const group = groupOf(set);
      const algorithm = prepared(group);
      for (const [what, hosts] of Object.entries(sequences)) {
        const mean = hosts.length / set.length;
        const counts = shares(algorithm, group, hosts);
        const chiSquare = [...counts.values()].reduce((sum, count) => sum + (count - mean) ** 2 / mean, 0);
        assert.isBelow(chiSquare, 33, `${what}: ${[...counts.values()].join(" ")}`);
      }
    }
  });

  it("yields while it builds, also for thousands of backends", () => {
    const group = groupOf(onePort(3000));
    const slices = ipHash.prepare?.(group.members, ipHash.initial) ?? assert.fail("ip-hash prepares a table");
    let count = 0;
    while (slices.next().done !== true) count += 1;
    assert.isAbove(count, 50);
  });

  it("keeps its table when a member is full for a moment, and sends its clients on, each to one of its own", () => {
    const group = changed(groupOf(onePort(10)), 3, { limit: 1 });
    const before = prepared(group);
    const full = changed(group, 3, { connections: 1 });
    assert.strictEqual(full.members.fingerprint, group.members.fingerprint, "there is nothing to prepare");
    const heirs = new Map<string, number>();
    for (const host of hostOfBucket.slice(0, 20_000)) {
      const was = chosenBy(before, group, host);
      const [member, after] = Support.chosen(before, full, host);
      assert.strictEqual(after.state, before.state, "and nothing to remember");
      const now = member?.key ?? assert.fail(host);
      if (was !== "10.0.0.4:3000 web-4") assert.strictEqual(now, was);
      else {
        heirs.set(now, (heirs.get(now) ?? 0) + 1);
        assert.strictEqual(chosenBy(unprepared, full, host), now, "a balancer without a table disagrees");
      }
    }
    assert.strictEqual(heirs.size, 9);
    assert.isBelow(largestOverMean(heirs), 1.4);
  });

  it("finds the one that is not full among many that are", () => {
    const open = 77;
    let group = groupOf(onePort(200));
    for (let slot = 0; slot < 200; slot++) {
      if (slot !== open) group = changed(group, slot, { limit: 2, connections: 2 });
    }
    const chooser = prepared(group);
    for (const host of hostOfBucket.slice(0, 300)) {
      assert.strictEqual(chosenBy(chooser, group, host), "10.0.0.78:3000 web-78");
    }
  });

  it("keeps to what is full or has another limit since the table was built", () => {
    // One that joined is not in the table, and its limit is no reason to build a new one.
    const table = prepared(groupOf(onePort(4)));
    let group = joined(groupOf(onePort(4)), "10.0.0.99:3000 web-99");
    const host =
      hostOfBucket.find((host) => chosenBy(table, group, host)?.endsWith("web-99")) ?? assert.fail();
    const [, later] = Support.chosen(table, group, host);
    group = changed(group, 4, { limit: 1, connections: 1 });
    const heir = chosenBy(later, group, host);
    assert.notStrictEqual(heir, "10.0.0.99:3000 web-99");
    assert.strictEqual(heir, chosenBy(unprepared, group, host));
  });

  it("places clients by addresses alone: nodes that know backends by other ids agree", () => {
    const rename = (key: string): string => `${key.split(" ")[0]} ${[...key].reverse().join("")}`;
    fc.assert(
      fc.property(keys({ minLength: 1, maxLength: 30 }), someHosts, (some, hosts) => {
        fc.pre(new Set(some.map((key) => key.split(" ")[0])).size === some.length);
        const [one, other] = [groupOf(some), groupOf(some.map(rename).reverse())];
        const [tableOfOne, tableOfOther] = [prepared(one), prepared(other)];
        for (const host of hosts) {
          const endpoint = chosenBy(tableOfOne, one, host)?.split(" ")[0];
          assert.strictEqual(chosenBy(tableOfOther, other, host)?.split(" ")[0], endpoint);
          assert.strictEqual(chosenBy(unprepared, other, host)?.split(" ")[0], endpoint);
        }
      }),
      { numRuns: 10 },
    );
  });

  it("counts two ids at one address once, and takes the second while the first is away", () => {
    const twice = groupOf([...onePort(4), "10.0.0.2:3000 twin"]);
    const once = groupOf(onePort(4));
    const [chooser, plain] = [prepared(twice), prepared(once)];
    const away = changed(twice, 4, { eligible: false });
    for (const host of hostOfBucket.slice(0, 20_000)) {
      const key = chosenBy(chooser, twice, host);
      assert.strictEqual(key?.split(" ")[0], chosenBy(plain, once, host)?.split(" ")[0]);
      // By the order of keys the twin comes first.
      assert.notStrictEqual(key, "10.0.0.2:3000 web-2");
      if (key === "10.0.0.2:3000 twin")
        assert.strictEqual(chosenBy(chooser, away, host), "10.0.0.2:3000 web-2");
    }
  });

  describe("with weights", () => {
    const weighted = (keys: ReadonlyArray<string>, weights: ReadonlyArray<number>): Group =>
      weights.reduce((group, weight, slot) => changed(group, slot, { weight }), groupOf(keys));
    const weight = fc.oneof(
      fc.integer({ min: 1, max: 256 }),
      fc.integer({ min: 1, max: 30 }),
      fc.constant(0.1),
    );
    const some = keys({ minLength: 2, maxLength: 30 }).chain((set) =>
      fc.tuple(
        fc.constant(set),
        fc.array(weight, { minLength: set.length, maxLength: set.length, size: "max" }),
      ),
    );

    it("gives each its share of the buckets", () => {
      const weights = [1, 2, 3, 5, 10, 0.5, 64, 128, 1, 256];
      const group = weighted(onePort(10), weights);
      const counts = [...shares(prepared(group), group, hostOfBucket).values()];
      const total = weights.reduce((sum, weight) => sum + weight, 0);
      weights.forEach((weight, i) => {
        // Five standard deviations of a binomial count.
        const mean = (buckets * weight) / total;
        assert.approximately(counts[i] ?? 0, mean, 5 * Math.sqrt(mean), `weight ${weight}`);
      });
    });

    it("is the same as without when all are equal", () => {
      const set = oneHost(20);
      const [plain, group] = [groupOf(set), weighted(set, new Array(20).fill(7))];
      const [tableOfPlain, table] = [prepared(plain), prepared(group)];
      everyHost((host) => {
        if (chosenBy(table, group, host) !== chosenBy(tableOfPlain, plain, host)) assert.fail(host);
      });
    });

    it("agrees with its table before that is built, whatever the order of slots", () => {
      fc.assert(
        fc.property(some, someHosts, ([set, weights], hosts) => {
          const group = weighted(set, weights);
          const other = weighted([...set].reverse(), [...weights].reverse());
          const [table, otherTable] = [prepared(group), prepared(other)];
          for (const host of hosts) {
            const owner = chosenBy(table, group, host);
            assert.strictEqual(chosenBy(unprepared, group, host), owner);
            assert.strictEqual(chosenBy(otherTable, other, host), owner);
          }
        }),
        { numRuns: 10 },
      );
    });

    it("moves clients to or from the one whose weight changes, and no others, at once and with a new table", () => {
      fc.assert(
        fc.property(some, fc.nat(), weight, someHosts, ([set, weights], which, other, hosts) => {
          const slot = which % set.length;
          const group = weighted(set, weights);
          const after = changed(group, slot, { weight: other });
          const key = set[slot];
          const was = weights[slot] ?? 1;
          const [before, table] = [prepared(group), prepared(after)];
          for (const host of hosts) {
            const from = chosenBy(before, group, host);
            const to = chosenBy(before, after, host);
            if (from !== to) assert.strictEqual(other > was ? to : from, key);
            assert.strictEqual(chosenBy(table, after, host), to);
            assert.strictEqual(chosenBy(table, group, host), from, "and back");
          }
        }),
        { numRuns: 10 },
      );
    });

    it("answers as a new table would, whatever has changed since the old one was built", () => {
      const change = fc.tuple(fc.constantFrom("join", "leave", "flip", "fill", "weigh"), fc.nat(), weight);
      fc.assert(
        fc.property(
          some,
          fc.array(change, { minLength: 1, maxLength: 40, size: "max" }),
          someHosts,
          ([set, weights], changes, hosts) => {
            let group = weighted(set, weights);
            let chooser = prepared(group);
            changes.forEach(([what, which, weight], n) => {
              const all = Members.toArray(group.members);
              const one = all[which % Math.max(1, all.length)];
              if (what === "join" || one === undefined) group = joined(group, `10.1.0.${n}:80 joined-${n}`);
              else if (what === "leave") group = left(group, one.slot);
              else if (what === "flip") group = changed(group, one.slot, { eligible: !one.eligible });
              else if (what === "weigh") group = changed(group, one.slot, { weight });
              else
                group = changed(group, one.slot, { limit: one.limit === 2 ? Infinity : 2, connections: 2 });
              // What it remembers of those that joined comes into being with a choice.
              if (n % 3 === 0) [, chooser] = Support.chosen(chooser, group, "10.9.8.7");
            });
            const [table, again] = [prepared(group), prepared(group, chooser)];
            for (const host of hosts) {
              assert.strictEqual(chosenBy(chooser, group, host), chosenBy(table, group, host));
              assert.strictEqual(chosenBy(unprepared, group, host), chosenBy(table, group, host));
              assert.strictEqual(chosenBy(again, group, host), chosenBy(table, group, host));
            }
          },
        ),
        { numRuns: 30 },
      );
    });

    const ownersIn = ({ state }: Chooser): Places => (state as State).table.owner; // It is of ip-hash.
    // The first bucket that another owns, or -1: a list of all that differ would take minutes to print.
    const difference = (one: Chooser, other: Chooser): number => {
      const owners = ownersIn(other);
      return ownersIn(one).findIndex((owner, bucket) => owner !== owners[bucket]);
    };

    it("settles ties in a table that is made of an old one as in a new one", () => {
      // Two ids at one address like every bucket alike, once they weigh the same.
      const set = [...onePort(10), "10.0.0.1:3000 twin"];
      for (const gaining of [0, 10]) {
        const before = weighted(
          set,
          set.map((_, slot) => (slot === gaining ? 1 : 2)),
        );
        const after = changed(before, gaining, { weight: 2 });
        assert.strictEqual(difference(prepared(after, prepared(before)), prepared(after)), -1);
      }
    });

    it("makes the same table of an old one, where some weigh more, as anew", () => {
      // Raises by a tenth, as a slow start makes them, and others; few members, so that ties are many.
      const raises = fc.array(fc.tuple(fc.nat(), fc.constantFrom(0.1, 1, 20)), {
        minLength: 1,
        maxLength: 6,
      });
      fc.assert(
        fc.property(some, raises, ([set, weights], raises) => {
          const before = weighted(set, weights);
          let after = before;
          for (const [which, more] of raises) {
            const slot = which % set.length;
            const { weight } = Members.get(after.members, slot) ?? assert.fail();
            after = changed(after, slot, { weight: weight + more });
          }
          assert.strictEqual(difference(prepared(after, prepared(before)), prepared(after)), -1);
        }),
        { numRuns: 20 },
      );
    });
  });

  it("sends nobody elsewhere because a backup that stands by is full", () => {
    const keys = onePort(5);
    const standBy = (group: Group, slot: number, connections: number): Group => {
      const member = Members.get(group.members, slot) ?? assert.fail();
      return {
        members: Members.replace(group.members, { ...member, role: "backup", limit: 2 }),
        load: Load.set(group.load, slot, connections, false),
      };
    };
    const primaries = left(groupOf(keys), 4);
    // The table is of when the backup was one of the others.
    const table = prepared(groupOf(keys));
    for (const chooser of [table, unprepared]) {
      const group = standBy(groupOf(keys), 4, 2);
      for (const host of hostOfBucket.slice(0, 5_000)) {
        assert.strictEqual(chosenBy(chooser, group, host), chosenBy(unprepared, primaries, host));
      }
    }
  });

  it("answers the same from a copy of what it remembers, as another process has it", () => {
    const group = groupOf(onePort(9));
    const one = Support.chosen(prepared(group), joined(group, "10.0.0.99:3000 web-99"))[1];
    const copy = { ...one, state: structuredClone(one.state) };
    assert.deepStrictEqual(copy.state, one.state);
    for (const now of [group, joined(group, "10.0.0.99:3000 web-99"), left(group, 4)]) {
      for (const host of hostOfBucket.slice(0, 2_000)) {
        assert.strictEqual(chosenBy(copy, now, host), chosenBy(one, now, host));
      }
    }
  });
});
