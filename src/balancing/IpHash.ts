/**
 * ip-hash: a client keeps its backend for as long as that backend is eligible.
 *
 * Each backend ranks all {@link buckets} in an order of its own, a keyed permutation; a bucket belongs to the
 * eligible backend that ranks it first, which is rendezvous hashing (Thaler and Ravishankar, "A Name-Based
 * Mapping Scheme for Rendezvous", 1996) over buckets. A backend that leaves therefore moves the clients it had
 * and no others, one that joins takes only what it now ranks first, and balancers with the same backends agree
 * whatever order they learnt them in.
 *
 * Maglev's table (Eisenbud et al., "Maglev", NSDI 2016, section 3.4) lets the backends take turns at claiming
 * buckets: shares come out even, but clients of backends that stay are moved as well. Here a backend claims
 * its n-th choice in round n whether or not it got the one before. The table costs about m·ln m claims however
 * many backends there are, and with 2^19 buckets the shares are even enough: with ten backends the standard
 * deviation of a share is 0.4 %.
 */
import { canonical } from "../net/IpAddress.js";
import type { Algorithm } from "./Algorithm.js";
import { type Candidate, get, type Roster, toArray } from "./Roster.js";

const bucketBits = 19;
/** The number of buckets that clients are hashed to. */
export const buckets = 1 << bucketBits;
const bucketMask = buckets - 1;
// A right shift by at least half the width is its own inverse under exclusive or.
const halfShift = (bucketBits + 1) >> 1;

// The finalizer of MurmurHash3 (Appleby, public domain): every input bit reaches every output bit.
const scramble = (value: number): number => {
  let h = value;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
};

// FNV-1a over UTF-16 code units (Fowler, Noll, Vo; RFC 9923), then scrambled: FNV alone leaves the high bits
// of short, similar texts (neighbouring addresses) nearly equal.
const hash = (text: string, seed: number): number => {
  let h = (0x811c9dc5 ^ seed) >>> 0;
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193);
  return scramble(h);
};

/** The bucket of a client: of its address alone, an IPv4-mapped IPv6 address counting as IPv4. */
export const bucketOf = (host: string): number => hash(canonical(host), 0) >>> (32 - bucketBits);

/** One backend's order of preference: three keyed rounds, each of them a bijection on the buckets. */
interface Preference {
  readonly add: readonly [number, number, number];
  readonly multiply: readonly [number, number, number];
  readonly divide: readonly [number, number, number];
}

// Newton's iteration doubles the correct low bits: 3, 6, 12, 24.
const inverse = (odd: number): number => {
  let x = odd;
  for (let i = 0; i < 3; i++) x = Math.imul(x, 2 - Math.imul(odd, x));
  return x & bucketMask;
};

const preferenceOf = (key: string): Preference => {
  const word = (seed: number): number => hash(key, scramble(seed)) & bucketMask;
  const multiply = [word(1) | 1, word(2) | 1, word(3) | 1] as const;
  return {
    add: [word(4), word(5), word(6)],
    multiply,
    divide: [inverse(multiply[0]), inverse(multiply[1]), inverse(multiply[2])],
  };
};

// Which bucket the backend likes at `rank`.
const bucketAt = (p: Preference, rank: number): number => {
  let x = rank;
  x = Math.imul(x + p.add[0], p.multiply[0]) & bucketMask;
  x ^= x >>> halfShift;
  x = Math.imul(x + p.add[1], p.multiply[1]) & bucketMask;
  x ^= x >>> halfShift;
  x = Math.imul(x + p.add[2], p.multiply[2]) & bucketMask;
  return x ^ (x >>> halfShift);
};

// At which rank the backend likes `bucket`: bucketAt backwards.
const rankOf = (p: Preference, bucket: number): number => {
  let x = bucket;
  x ^= x >>> halfShift;
  x = (Math.imul(x, p.divide[2]) - p.add[2]) & bucketMask;
  x ^= x >>> halfShift;
  x = (Math.imul(x, p.divide[1]) - p.add[1]) & bucketMask;
  x ^= x >>> halfShift;
  return (Math.imul(x, p.divide[0]) - p.add[0]) & bucketMask;
};

/** Who owns each bucket, for the eligible candidates of one moment. */
interface Table {
  readonly preferences: ReadonlyMap<string, Preference>;
  readonly members: ReadonlyArray<Candidate>;
  /** An index into members for each bucket. */
  readonly owner: Int32Array;
}

const claimsInASlice = 65536;

const build = function* (roster: Roster<Candidate>, known: Table | undefined): Generator<void, Table> {
  // In the order of keys, which every balancer agrees on: of two that like a bucket equally, the first gets it.
  const members = toArray(roster)
    .filter((candidate) => candidate.eligible)
    .sort((a, b) => (a.key < b.key ? -1 : 1));
  const orders = members.map(({ key }) => known?.preferences.get(key) ?? preferenceOf(key));
  const owner = new Int32Array(buckets).fill(-1);
  let unclaimed = members.length === 0 ? 0 : buckets;
  let claims = 0;
  for (let rank = 0; unclaimed > 0; rank++) {
    let i = 0;
    for (const order of orders) {
      const bucket = bucketAt(order, rank);
      if (owner[bucket] === -1) {
        owner[bucket] = i;
        unclaimed -= 1;
      }
      i += 1;
      if (++claims % claimsInASlice === 0) yield;
    }
  }
  const preferences = new Map(members.map(({ key }, i) => [key, orders[i] ?? preferenceOf(key)]));
  return { preferences, members, owner };
};

// The same answer as a table built for this very roster would give, at the cost of asking every candidate.
const askAll = (roster: Roster<Candidate>, known: Table | undefined, bucket: number): number | undefined => {
  let slot: number | undefined;
  let bestKey = "";
  let bestRank = Infinity;
  for (const candidate of toArray(roster)) {
    if (!candidate.eligible) continue;
    const { key } = candidate;
    const rank = rankOf(known?.preferences.get(key) ?? preferenceOf(key), bucket);
    if (rank < bestRank || (rank === bestRank && key < bestKey)) {
      slot = candidate.slot;
      bestKey = key;
      bestRank = rank;
    }
  }
  return slot;
};

const withTable = (table: Table | undefined): Algorithm => {
  const self: Algorithm = {
    name: "ip-hash",
    choose: (roster, client) => {
      if (roster.root.eligible === 0) return undefined;
      const bucket = bucketOf(client.host);
      const member = table?.members[table.owner[bucket] ?? -1];
      if (member !== undefined) {
        const candidate = get(roster, member.slot);
        if (candidate !== undefined && candidate.eligible && candidate.key === member.key) {
          return { slot: member.slot, next: self };
        }
      }
      const slot = askAll(roster, table, bucket);
      return slot === undefined ? undefined : { slot, next: self };
    },
    prepare: function* (roster) {
      return withTable(yield* build(roster, table));
    },
  };
  return self;
};

/**
 * A client (its address, never its port) goes to the same backend for as long as that backend is eligible.
 * Choosing is one look-up in a table that is built off the connection path. Until a new table is ready the
 * clients of a backend that left are placed by asking every candidate, which gives the answer that the new
 * table will give.
 */
export const ipHash: Algorithm = withTable(undefined);
