/**
 * ip-hash: a client keeps its backend for as long as that backend is eligible.
 *
 * Each member ranks all {@link buckets} in an order of its own, a permutation keyed by its address and port; a bucket
 * belongs to the eligible member that ranks it first, which is rendezvous hashing (Thaler and Ravishankar, "A
 * Name-Based Mapping Scheme for Rendezvous", 1996) over buckets. A backend that leaves therefore moves the clients it
 * had and no others, one that joins takes only what it now ranks first, and balancers with the same backends agree
 * whatever order they learnt them in, and whatever ids they know them by.
 *
 * With weights a member's rank of a bucket is turned into a time, as if it reached its buckets one after the other, at
 * random and at the rate of its weight: {@link timeOf} has the exponential distribution. The first to reach a bucket
 * has it, so shares are as the weights are; one whose weight changes reaches all of its buckets earlier, or all of them
 * later, and so takes clients from others, or gives up clients to others, and moves no others.
 *
 * Maglev's table (Eisenbud et al., "Maglev", NSDI 2016, section 3.4) lets the backends take turns at claiming
 * buckets: shares come out even, but clients of backends that stay are moved as well. Here a backend claims
 * its n-th choice in its turn whether or not it got the one before. For n backends and m buckets the table costs
 * about m·(1 + ln n) steps, and with 2^19 buckets the shares are even enough: with ten backends the standard
 * deviation of a share is 0.3 %.
 */
import { canonical } from "../net/IpAddress.js";
import type { Algorithm } from "./Algorithm.js";
import { hash, scramble } from "./Hash.js";
import { connections, isOpen, type Load } from "./Load.js";
import { get, type Member, type Members, type Role, roleInService, toArray } from "./Members.js";
import * as PersistentVector from "./PersistentVector.js";

const bucketBits = 19;
/**
 * The number of buckets that clients are hashed to.
 *
 * @since 0.2.0
 * @category constants
 */
export const buckets = 1 << bucketBits;
const bucketMask = buckets - 1;
// A right shift by at least half the width is its own inverse under exclusive or.
const halfShift = (bucketBits + 1) >> 1;

/**
 * The bucket of a client: of its address alone, an IPv4-mapped IPv6 address counting as IPv4.
 *
 * @since 0.2.0
 * @category accessors
 */
export const bucketOf = (host: string): number => hash(canonical(host), 0) >>> (32 - bucketBits);

/**
 * One backend's order of preference: three keyed rounds, each of them a bijection on the buckets. Plain numeric
 * fields and no arrays: these are read millions of times while a table is built.
 *
 * @since 0.2.0
 * @category models
 */
export interface Preference {
  readonly add1: number;
  readonly add2: number;
  readonly add3: number;
  readonly multiply1: number;
  readonly multiply2: number;
  readonly multiply3: number;
  readonly divide1: number;
  readonly divide2: number;
  readonly divide3: number;
}

// Newton's iteration doubles the correct low bits: 3, 6, 12, 24.
const inverse = (odd: number): number => {
  let x = odd;
  for (let i = 0; i < 3; i++) x = Math.imul(x, 2 - Math.imul(odd, x));
  return x & bucketMask;
};

const preferenceOf = (key: string): Preference => {
  const word = (seed: number): number => hash(key, scramble(seed)) & bucketMask;
  const multiply1 = word(1) | 1;
  const multiply2 = word(2) | 1;
  const multiply3 = word(3) | 1;
  return {
    add1: word(4),
    add2: word(5),
    add3: word(6),
    multiply1,
    multiply2,
    multiply3,
    divide1: inverse(multiply1),
    divide2: inverse(multiply2),
    divide3: inverse(multiply3),
  };
};

// When a member of this weight reaches its bucket of this rank: the quantile of the exponential distribution.
const timeOf = (rank: number, weight: number): number => -Math.log1p(-(rank + 0.5) / buckets) / weight;

// Whether a member of this weight reaches its bucket of this rank later than this, told without a logarithm: that time is
// more than the rank's part of all ranks over the weight. Where it answers false, the member may still be later.
const isCertainlyLater = (rank: number, weight: number, time: number): boolean =>
  (rank + 0.5) / buckets > time * weight;

// Which bucket the backend likes at `rank`.
const bucketAt = (p: Preference, rank: number): number => {
  let x = rank;
  x = Math.imul(x + p.add1, p.multiply1) & bucketMask;
  x ^= x >>> halfShift;
  x = Math.imul(x + p.add2, p.multiply2) & bucketMask;
  x ^= x >>> halfShift;
  x = Math.imul(x + p.add3, p.multiply3) & bucketMask;
  return x ^ (x >>> halfShift);
};

// At which rank the backend likes `bucket`: bucketAt backwards.
const rankOf = (p: Preference, bucket: number): number => {
  let x = bucket;
  x ^= x >>> halfShift;
  x = (Math.imul(x, p.divide3) - p.add3) & bucketMask;
  x ^= x >>> halfShift;
  x = (Math.imul(x, p.divide2) - p.add2) & bucketMask;
  x ^= x >>> halfShift;
  return (Math.imul(x, p.divide1) - p.add1) & bucketMask;
};

/**
 * A member, as it weighed at some moment, with its order of preference.
 *
 * @since 0.2.0
 * @category models
 */
export interface Ranked {
  readonly slot: number;
  readonly key: string;
  readonly weight: number;
  readonly preference: Preference;
}

/**
 * A place among the owners for each bucket. Up to 65,535 owners it takes 16 bits, which halves the table.
 *
 * @since 0.2.0
 * @category models
 */
export type Places = Uint16Array | Int32Array;

/**
 * The owner of each bucket, for the eligible members of one moment.
 *
 * @since 0.2.0
 * @category models
 */
export interface Table {
  /** In the order of their keys. */
  readonly owners: ReadonlyArray<Ranked>;
  /** For each slot that they had one more than an index into them; 0, or nothing, where none had it. */
  readonly bySlot: ReadonlyArray<number>;
  /** For each bucket one more than an index into owners; 0 where it has none. */
  readonly owner: Places;
  /** No bucket is reached by its owner later than this. */
  readonly latest: number;
}

/**
 * The eligible members that a table does not have as they are now (those that joined, those that weigh something else
 * now, and those whose slot had another member), and the fingerprint of the members that this is true of.
 *
 * @since 0.2.0
 * @category models
 */
export interface Joined {
  readonly fingerprint: number;
  /** In the order of their slots. */
  readonly members: ReadonlyArray<Ranked>;
  /** The members and the role in service that this is true of: later, only those that differ are looked at. */
  readonly slots: PersistentVector.PersistentVector<Member>;
  readonly inService: Role;
}

/**
 * What ip-hash remembers: a table, and which members it does not have as they are now. All of it follows from the
 * members of some moment, and none of it from the clients that were placed.
 *
 * @since 0.2.0
 * @category models
 */
export interface State {
  readonly table: Table;
  readonly joined: Joined;
}

const noTable: Table = { owners: [], bySlot: [], owner: new Int32Array(0), latest: 0 };

// Steps between two yields: some tenths of a millisecond. The loops below are plain functions, because inside a
// generator they would run several times slower.
const stepsInASlice = 16384;

// Ranks that are gone through in one slice, where each takes a logarithm and a look at a bucket's owner.
const takenInASlice = 4096;

const unowned = 0;

// The most owners whose places fit into 16 bits.
const mostIn16Bits = 2 ** 16 - 1;

// Buckets whose memory is written for the first time in one slice: 128 KiB at most.
const touchedInASlice = 32768;

// The members of one weight while a table is built.
interface Rank {
  readonly weight: number;
  /** Their places among the owners, counted from 1, and their orders of preference. */
  readonly places: ReadonlyArray<number>;
  readonly orders: ReadonlyArray<Preference>;
  /** They have claimed their buckets of all ranks below this. */
  next: number;
}

// The claims of one span of time, the buckets of which are not settled: a member of another weight may reach one of them
// earlier. In the table such a bucket has, below zero, one more than the place of its claim in these lists.
interface Claims {
  count: number;
  readonly buckets: Int32Array;
  readonly places: Int32Array;
  readonly times: Float64Array;
}

// Claims of members of one weight, up to a time: each claims its bucket of each rank, and gets it if it reaches it
// first.
const claim = (rank: Rank, owner: Int32Array, claims: Claims, until: number): void => {
  const { orders, places, weight } = rank;
  const { buckets: claimed, places: placesOf, times } = claims;
  let time = timeOf(rank.next, weight);
  for (; time <= until && rank.next < buckets; time = timeOf(rank.next, weight)) {
    for (let i = 0; i < orders.length; i++) {
      const bucket = bucketAt(orders[i] as Preference, rank.next); // i is within.
      const taken = owner[bucket] as number; // There is one for each bucket.
      // Of an earlier span.
      if (taken > unowned) continue;
      const place = places[i] as number; // i is within.
      let at = -taken - 1;
      if (taken === unowned) {
        at = claims.count++;
        claimed[at] = bucket;
        owner[bucket] = -at - 1;
      } else {
        const earlier = times[at] as number; // It was claimed.
        if (time > earlier || (time === earlier && (placesOf[at] as number) < place)) continue;
      }
      placesOf[at] = place;
      times[at] = time;
    }
    rank.next += 1;
  }
};

// No member reaches a bucket in this span any more: those that were claimed in it are owned. Returns how many they are.
const settleClaims = (claims: Claims, owner: Int32Array): number => {
  const { buckets: claimed, count, places } = claims;
  for (let at = 0; at < count; at++) owner[claimed[at] as number] = places[at] as number; // at is within.
  claims.count = 0;
  return count;
};

// Asks every member for its rank of each unowned bucket from `bucket` on. Returns the bucket to continue from, and when
// the last of these is reached, or `before`, if that is later.
const settle = (
  owners: ReadonlyArray<Ranked>,
  owner: Int32Array,
  bucket: number,
  before: number,
): readonly [bucket: number, latest: number] => {
  let at = bucket;
  let latest = before;
  for (let steps = 0; at < buckets && steps < stepsInASlice; at++) {
    steps += 1;
    if (owner[at] !== unowned) continue;
    steps += owners.length;
    let earliest = Infinity;
    let place = 0;
    for (const { preference, weight } of owners) {
      place += 1;
      const rank = rankOf(preference, at);
      if (isCertainlyLater(rank, weight, earliest)) continue;
      const time = timeOf(rank, weight);
      if (time >= earliest) continue;
      earliest = time;
      owner[at] = place;
    }
    if (earliest > latest) latest = earliest;
  }
  return [at, latest];
};

// The buckets of one that weighs more than in the table, from a rank on: it takes those that it reaches before their
// owners. Returns the rank to continue from.
const takeBuckets = (
  { owners, latest }: Pick<Table, "owners" | "latest">,
  owner: Places,
  place: number,
  from: number,
): number => {
  const { preference, weight } = owners[place - 1] as Ranked; // It is an owner.
  const to = Math.min(buckets, from + takenInASlice);
  for (let rank = from; rank < to; rank++) {
    const time = timeOf(rank, weight);
    if (time > latest) return buckets;
    const bucket = bucketAt(preference, rank);
    const placeOfOther = owner[bucket] as number; // There is one for each bucket.
    if (placeOfOther === place) continue;
    const other = owners[placeOfOther - 1] as Ranked; // Each bucket is owned.
    const rankOfOther = rankOf(other.preference, bucket);
    if (!isCertainlyLater(rankOfOther, other.weight, time)) {
      const timeOfOther = timeOf(rankOfOther, other.weight);
      if (timeOfOther < time || (timeOfOther === time && placeOfOther < place)) continue;
    }
    owner[bucket] = place;
  }
  return to;
};

// Members that are sorted, or merged, in one slice.
const sortedInASlice = 1024;

// Merges at most so many more of two sorted runs. `taken` of what is merged so far are from the left one; returns how
// many are then.
const merge = (
  left: ReadonlyArray<Member>,
  right: ReadonlyArray<Member>,
  merged: Array<Member>,
  taken: number,
  most: number,
): number => {
  let i = taken;
  for (let n = 0; n < most; n++) {
    const l = left[i];
    const r = right[merged.length - i];
    if (l !== undefined && (r === undefined || l.key < r.key)) {
      merged.push(l);
      i += 1;
    } else if (r !== undefined) merged.push(r);
    else break;
  }
  return i;
};

// Sorts by key in slices.
const sorted = function* (some: ReadonlyArray<Member>): Generator<void, ReadonlyArray<Member>> {
  if (some.length <= sortedInASlice) {
    yield;
    return some.slice().sort((a, b) => (a.key < b.key ? -1 : 1));
  }
  const half = some.length >> 1;
  const left = yield* sorted(some.slice(0, half));
  const right = yield* sorted(some.slice(half));
  const merged: Array<Member> = [];
  for (let taken = 0; merged.length < some.length; yield) {
    taken = merge(left, right, merged, taken, sortedInASlice);
  }
  return merged;
};

const ownerIn = ({ bySlot, owners }: Table, slot: number): Ranked | undefined =>
  owners[(bySlot[slot] ?? 0) - 1];

// Writes to new memory for the first time, in parts. What a table is made by is scattered over all of it, so the first slice
// of that would take all its page faults (512; 8 ms in a virtual machine that is slow at them).
const touched = function* (write: (from: number, to: number) => void): Generator<void, void> {
  for (let from = 0; from < buckets; from += touchedInASlice) {
    write(from, from + touchedInASlice);
    yield;
  }
};

// The same numbers, in new memory.
const copied = function* (before: Places, count: number): Generator<void, Places> {
  const owner = count > mostIn16Bits ? new Int32Array(buckets) : new Uint16Array(buckets);
  yield* touched((from, to) => owner.set(before.subarray(from, to), from));
  return owner;
};

const build = function* (all: Members, before: State): Generator<void, Table> {
  const inService = roleInService(all);
  const eligible = toArray(all).filter(({ eligible, role }) => eligible && role === inService);
  const joined = new Map(before.joined.members.map((one) => [one.key, one]));
  // In the order of keys, which every balancer agrees on: of two that like a bucket equally, the first gets it.
  const members = yield* sorted(eligible);
  const owners: Array<Ranked> = [];
  const bySlot: Array<number> = [];
  const ranks = new Map<
    number,
    Rank & { readonly places: Array<number>; readonly orders: Array<Preference> }
  >();
  let total = 0;
  for (const member of members) {
    const { endpoint, key, slot, weight } = member;
    const known = ownerIn(before.table, slot);
    const { preference } = (known?.key === key ? known : joined.get(key)) ?? {
      preference: preferenceOf(endpoint),
    };
    owners.push({ key, slot, weight, preference });
    while (bySlot.length < slot) bySlot.push(0);
    bySlot[slot] = owners.length;
    const rank = ranks.get(weight) ?? { weight, places: [], orders: [], next: 0 };
    ranks.set(weight, rank);
    rank.places.push(owners.length);
    rank.orders.push(preference);
    total += weight;
    if (owners.length % 512 === 0) yield;
  }
  if (owners.length === 0) return noTable;
  const owner = new Int32Array(buckets);
  yield* touched((from, to) => owner.fill(unowned, from, to));
  // Claims pay off while enough buckets are unclaimed for a claim to hit one. For the last few it is cheaper to ask
  // every member. Claims up to time t are final: any other member reaches the bucket after t.
  const span = stepsInASlice / (total * buckets);
  // In a span a member reaches as many buckets as its part of these steps, and a part of one more.
  const most = stepsInASlice + owners.length;
  const claims: Claims = {
    count: 0,
    buckets: new Int32Array(most),
    places: new Int32Array(most),
    times: new Float64Array(most),
  };
  let latest = 0;
  for (let unclaimed = buckets; unclaimed * owners.length > buckets; ) {
    latest += span;
    for (const rank of ranks.values()) claim(rank, owner, claims, latest);
    unclaimed -= settleClaims(claims, owner);
    yield;
  }
  for (let bucket = 0; bucket < buckets; yield) {
    [bucket, latest] = settle(owners, owner, bucket, latest);
  }
  return { owners, bySlot, owner: yield* copied(owner, owners.length), latest };
};

// The part of all weights that may have been gained for the table to be changed, and not built anew: each of those that
// gained has to go through as many of its ranks as are reached before the latest bucket is, which is some thirteen times
// its share.
const mostGained = 1 / 4;

// Whether the members that joined a table, which has as many owners as there are members, are nothing but owners of it
// that weigh more now, and not all too much. All its other owners are as they were then.
const haveGained = ({ joined, table }: State): boolean => {
  let most = 0;
  for (const { weight } of table.owners) most += weight * mostGained;
  for (const { key, slot, weight } of joined.members) {
    const owner = ownerIn(table, slot);
    most -= weight;
    if (owner?.key !== key || owner.weight >= weight || most < 0) return false;
  }
  return true;
};

// The table with those that weigh more now: a few times cheaper than a new one, as it is with slow starts again and again.
const withGained = function* ({ joined, table }: State): Generator<void, Table> {
  const { bySlot, latest, owner: before } = table;
  const owners = table.owners.slice();
  for (const one of joined.members) owners[(bySlot[one.slot] as number) - 1] = one; // It is an owner.
  yield;
  const owner = yield* copied(before, owners.length);
  for (const { slot } of joined.members) {
    const place = bySlot[slot] as number; // As above.
    for (let rank = 0; rank < buckets; yield) rank = takeBuckets({ owners, latest }, owner, place, rank);
  }
  return { owners, bySlot, owner, latest };
};

// Whether this is the member, as it weighs now: its slot may have been vacated and taken by another one since, and it may
// weigh something else.
const isStill = (one: Ranked, member: Member | undefined): boolean =>
  member?.key === one.key && member.weight === one.weight;

// Whether the member may own a bucket: it is open, or `orFull` and at its limit (as it is now), but for that eligible.
const mayOwn = (one: Ranked, members: Members, load: Load, orFull: boolean): boolean => {
  if (isOpen(load, one.slot)) return true;
  const member = orFull ? get(members, one.slot) : undefined;
  return (
    member?.eligible === true &&
    member.role === roleInService(members) &&
    connections(load, one.slot) >= member.limit
  );
};

// Which of these reaches a bucket first, or the one before, if it is earlier. Of several at once, the one with the lowest
// key.
const firstOf = (
  some: ReadonlyArray<Ranked>,
  before: Ranked | undefined,
  bucket: number,
  isCandidate: (one: Ranked) => boolean,
): Ranked | undefined => {
  let first = before;
  let earliest = before === undefined ? Infinity : timeOf(rankOf(before.preference, bucket), before.weight);
  for (const one of some) {
    const { key, preference, weight } = one;
    const rank = rankOf(preference, bucket);
    if (isCertainlyLater(rank, weight, earliest)) continue;
    const time = timeOf(rank, weight);
    const isFirst = time === earliest && first !== undefined ? key < first.key : time < earliest;
    if (!isFirst || !isCandidate(one)) continue;
    first = one;
    earliest = time;
  }
  return first;
};

// The same of all members that a choice is among: what the table says, at the cost of asking all of them.
const firstOfAll = (
  members: Members,
  load: Load,
  { joined, table }: State,
  bucket: number,
  orFull: boolean,
): Ranked | undefined => {
  const ofJoined = firstOf(joined.members, undefined, bucket, (one) => mayOwn(one, members, load, orFull));
  return firstOf(
    table.owners,
    ofJoined,
    bucket,
    (one) => isStill(one, get(members, one.slot)) && mayOwn(one, members, load, orFull),
  );
};

// The slots that have not the same member in two vectors, in their order. What they share is not looked into.
const changedSlots = (
  { blocks }: PersistentVector.PersistentVector<Member>,
  before: PersistentVector.PersistentVector<Member>,
): ReadonlyArray<number> => {
  const changed: Array<number> = [];
  let from = 0;
  for (let i = 0; i < blocks.length; i++) {
    const chunks = (blocks[i] as PersistentVector.Block<Member>).chunks; // i is within.
    const others = before.blocks[i]?.chunks;
    for (let j = 0; j < chunks.length; j++, from += PersistentVector.chunkSize) {
      if (chunks[j] === others?.[j]) continue;
      const values = chunks[j]?.values ?? [];
      const valuesBefore = others?.[j]?.values;
      for (let place = 0; place < values.length; place++) {
        if (values[place] !== valuesBefore?.[place]) changed.push(from + place);
      }
    }
  }
  return changed;
};

// The same state, with those that joined the members since its table was built. A slow start of thousands changes the
// members every few choices, so only those that have changed are looked at.
const withJoined = (state: State, members: Members): State => {
  const { joined: before, table } = state;
  const { fingerprint, slots } = members;
  if (before.fingerprint === fingerprint) return state;
  const inService = roleInService(members);
  const isSame = inService === before.inService;
  const known = isSame ? before.members : [];
  const joined: Array<Ranked> = [];
  let next = 0;
  for (const slot of changedSlots(slots, isSame ? before.slots : PersistentVector.empty)) {
    for (; next < known.length && (known[next] as Ranked).slot < slot; next++)
      joined.push(known[next] as Ranked); // next is within.
    const was = known[next]?.slot === slot ? known[next++] : undefined;
    const member = get(members, slot);
    if (member === undefined || !member.eligible || member.role !== inService) continue;
    const { endpoint, key, weight } = member;
    const owner = ownerIn(table, slot);
    if (owner !== undefined && isStill(owner, member)) continue;
    const same = owner?.key === key ? owner : was?.key === key ? was : undefined;
    joined.push({ key, slot, weight, preference: same?.preference ?? preferenceOf(endpoint) });
  }
  for (; next < known.length; next++) joined.push(known[next] as Ranked); // next is within.
  return { table, joined: { fingerprint, members: joined, slots, inService } };
};

// The member that a bucket belongs to, be it open or full.
const memberOf = (members: Members, load: Load, state: State, bucket: number): Ranked | undefined => {
  const { joined, table } = state;
  const owner = table.owners[(table.owner[bucket] ?? 0) - 1];
  const member = owner === undefined ? undefined : get(members, owner.slot);
  // One that weighs more than in the table reaches its buckets earlier: it is still before the others of the table.
  const isKept =
    owner !== undefined &&
    member?.key === owner.key &&
    member.weight >= owner.weight &&
    mayOwn(owner, members, load, true);
  if (!isKept) return firstOfAll(members, load, state, bucket, true);
  if (joined.members.length === 0) return owner;
  return firstOf(joined.members, owner, bucket, (one) => mayOwn(one, members, load, true));
};

// The state with a table of just these members.
const made = (table: Table, of: Omit<Joined, "members">): State => ({
  table,
  joined: { ...of, members: [] },
});

// The buckets whose members are asked before all are.
const mostAsked = 16;

/**
 * A client (its address, never its port) goes to the same member for as long as that is open and none joins that ranks
 * the client's bucket before it. Choosing is one look-up in a table that is built off the connection path. How old the
 * table is never shows in the answer: members that joined since are asked for their ranks, and for the clients of one
 * that is not eligible all are asked.
 *
 * While a member is full, its clients go on to the member of another bucket, and from there to that of a third: each
 * client has an order of its own, which is the same every time.
 *
 * @example
 * ```ts
 * import { BackendRegistry, ipHash } from "zeitwork-load-balancer"
 *
 * const registry = BackendRegistry.layer({ algorithm: ipHash })
 * ```
 *
 * @since 0.2.0
 * @category constructors
 */
export const ipHash: Algorithm<State> = {
  name: "ip-hash",
  initial: made(noTable, { fingerprint: 0, slots: PersistentVector.empty, inService: "primary" }),
  choose: (members, load, before, client) => {
    if (load.open === 0) return undefined;
    const state = withJoined(before, members);
    const bucket = bucketOf(client.host);
    let member = memberOf(members, load, state, bucket);
    for (let asked = 1; member !== undefined && !isOpen(load, member.slot); asked++) {
      member =
        asked < mostAsked
          ? memberOf(members, load, state, scramble(bucket + asked * buckets) & bucketMask)
          : firstOfAll(members, load, state, bucket, false);
    }
    return member === undefined ? undefined : { slot: member.slot, state };
  },
  preferred: (members, load, before, client) => {
    const state = withJoined(before, members);
    const member = memberOf(members, load, state, bucketOf(client.host));
    return member === undefined ? undefined : { slot: member.slot, state };
  },
  prepare: function* (members, state) {
    const inService = roleInService(members);
    const count = inService === "primary" ? members.primaries : members.eligible;
    let table: Table | undefined;
    if (count === state.table.owners.length) {
      const now = withJoined(state, members);
      if (haveGained(now)) table = yield* withGained(now);
    }
    table ??= yield* build(members, state);
    const { fingerprint, slots } = members;
    return { into: () => made(table, { fingerprint, slots, inService }) };
  },
};
