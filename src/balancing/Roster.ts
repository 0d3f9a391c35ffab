/**
 * The backends that may be chosen from, as an immutable value: a persistent tree over numbered slots.
 *
 * A backend keeps its slot for as long as it is known, so the order of slots is stable whatever order
 * discovery lists backends in. Every inner node carries how many eligible candidates lie below it and the
 * fewest connections among them. Replacing one candidate copies one path, and finding the next eligible (or
 * the next least loaded) candidate descends one path: both are O(log n), and nothing copies the whole.
 *
 * The shape is that of a segment tree with a wide fan-out (de Berg et al., Computational Geometry, chapter
 * 10), made persistent by path copying (Driscoll et al., "Making Data Structures Persistent", 1989).
 */

/** What an algorithm may know of a backend. */
export interface Candidate {
  /** The position in the roster; stable for as long as the backend is known. */
  readonly slot: number;
  /** The identity (id and address); two balancers that know the same backend agree on it. */
  readonly key: string;
  /** Whether new connections may go to it. */
  readonly eligible: boolean;
  /** Connections assigned and not yet released. */
  readonly connections: number;
}

interface Node<A> {
  readonly children: ReadonlyArray<Node<A> | A | undefined>;
  readonly eligible: number;
  readonly least: number;
}

export interface Roster<out A extends Candidate> {
  readonly root: Node<A>;
  /** Levels below the root: 0 when the root's children are candidates. */
  readonly height: number;
  /** Slots that were given out at some time: every candidate's slot is below it. */
  readonly slots: number;
  /** Slots given out and vacant again, to be given out first. */
  readonly vacant: Vacant | undefined;
  /** Candidates held. */
  readonly size: number;
  /** Names the set of eligible candidates: another symbol whenever a candidate starts or ceases to be eligible. */
  readonly eligibility: symbol;
}

interface Vacant {
  readonly slot: number;
  readonly rest: Vacant | undefined;
}

const bits = 4;
const fanOut = 1 << bits;
const mask = fanOut - 1;

// Typed for any candidate: it holds none.
const emptyNode: Node<never> = {
  children: new Array<undefined>(fanOut).fill(undefined),
  eligible: 0,
  least: Infinity,
};

export const empty: Roster<never> = {
  root: emptyNode,
  height: 0,
  slots: 0,
  vacant: undefined,
  size: 0,
  eligibility: Symbol(),
};

/** How many candidates are eligible. O(1). */
export const eligibleCount = (roster: Roster<Candidate>): number => roster.root.eligible;

// A tree of height h holds nodes above level 0 and candidates below it, so the level decides what a child is.
const asNode = <A>(child: Node<A> | A | undefined): Node<A> | undefined => child as Node<A> | undefined;
const asCandidate = <A>(child: Node<A> | A | undefined): A | undefined => child as A | undefined;

/** The candidate in a slot, if there is one. O(log n). */
export const get = <A extends Candidate>(roster: Roster<A>, slot: number): A | undefined => {
  if (slot < 0 || slot >= roster.slots) return undefined;
  let node: Node<A> | undefined = roster.root;
  for (let level = roster.height; level > 0 && node !== undefined; level--) {
    node = asNode<A>(node.children[(slot >>> (level * bits)) & mask]);
  }
  return node === undefined ? undefined : asCandidate<A>(node.children[slot & mask]);
};

const write = <A extends Candidate>(
  node: Node<A>,
  level: number,
  slot: number,
  value: A | undefined,
): Node<A> => {
  const at = (slot >>> (level * bits)) & mask;
  const children = node.children.slice();
  children[at] =
    level === 0 ? value : write(asNode<A>(node.children[at]) ?? emptyNode, level - 1, slot, value);
  let eligible = 0;
  let least = Infinity;
  for (let i = 0; i < fanOut; i++) {
    const child = children[i];
    if (child === undefined) continue;
    if (level === 0) {
      const candidate = child as A;
      if (!candidate.eligible) continue;
      eligible += 1;
      if (candidate.connections < least) least = candidate.connections;
    } else {
      const inner = child as Node<A>;
      eligible += inner.eligible;
      if (inner.least < least) least = inner.least;
    }
  }
  return { children, eligible, least };
};

/** Puts a new candidate into a vacant slot, which `make` is told. O(log n). */
export const insert = <A extends Candidate>(roster: Roster<A>, make: (slot: number) => A): Roster<A> => {
  const slot = roster.vacant?.slot ?? roster.slots;
  const value = make(slot);
  let { root, height } = roster;
  while (slot >>> ((height + 1) * bits) !== 0) {
    const children: Array<Node<A> | undefined> = new Array<undefined>(fanOut).fill(undefined);
    children[0] = root;
    root = { children, eligible: root.eligible, least: root.least };
    height += 1;
  }
  return {
    root: write(root, height, slot, value),
    height,
    slots: Math.max(roster.slots, slot + 1),
    vacant: roster.vacant?.rest,
    size: roster.size + 1,
    eligibility: value.eligible ? Symbol() : roster.eligibility,
  };
};

/** Puts another value in place of the candidate in the same slot; nothing happens where there is none. O(log n). */
export const replace = <A extends Candidate>(roster: Roster<A>, value: A): Roster<A> => {
  const before = get(roster, value.slot);
  if (before === undefined || before === value) return roster;
  return {
    root: write(roster.root, roster.height, value.slot, value),
    height: roster.height,
    slots: roster.slots,
    vacant: roster.vacant,
    size: roster.size,
    eligibility: before.eligible === value.eligible ? roster.eligibility : Symbol(),
  };
};

/** Vacates a slot. O(log n). */
export const remove = <A extends Candidate>(roster: Roster<A>, slot: number): Roster<A> => {
  const before = get(roster, slot);
  if (before === undefined) return roster;
  return {
    root: write<A>(roster.root, roster.height, slot, undefined),
    height: roster.height,
    slots: roster.slots,
    vacant: { slot, rest: roster.vacant },
    size: roster.size - 1,
    eligibility: before.eligible ? Symbol() : roster.eligibility,
  };
};

const seek = <A extends Candidate>(
  node: Node<A>,
  level: number,
  from: number,
  limit: number,
): A | undefined => {
  for (let i = from >>> (level * bits); i < fanOut; i++) {
    const child = node.children[i];
    if (child === undefined) continue;
    if (level === 0) {
      const candidate = child as A;
      if (candidate.eligible && candidate.connections <= limit) return candidate;
    } else {
      const inner = child as Node<A>;
      if (inner.eligible === 0 || inner.least > limit) continue;
      const at = i << (level * bits);
      const found = seek(inner, level - 1, from > at ? from - at : 0, limit);
      if (found !== undefined) return found;
    }
  }
  return undefined;
};

const next = <A extends Candidate>(roster: Roster<A>, after: number, limit: number): A | undefined =>
  (after + 1 < roster.slots ? seek(roster.root, roster.height, after + 1, limit) : undefined) ??
  seek(roster.root, roster.height, 0, limit);

/** The first eligible candidate behind slot `after`, going round from the last slot to the first. O(log n). */
export const nextEligible = <A extends Candidate>(roster: Roster<A>, after: number): A | undefined =>
  roster.root.eligible === 0 ? undefined : next(roster, after, Infinity);

/**
 * The first candidate behind slot `after` that has the fewest connections of all that are eligible, going
 * round from the last slot to the first. O(log n).
 */
export const nextLeastLoaded = <A extends Candidate>(roster: Roster<A>, after: number): A | undefined =>
  roster.root.eligible === 0 ? undefined : next(roster, after, roster.root.least);

/** Every candidate in the order of slots. O(n). */
export const toArray = <A extends Candidate>(roster: Roster<A>): ReadonlyArray<A> => {
  const all: Array<A> = [];
  const walk = (node: Node<A>, level: number): void => {
    for (const child of node.children) {
      if (child === undefined) continue;
      if (level === 0) all.push(child as A);
      else walk(child as Node<A>, level - 1);
    }
  };
  walk(roster.root, roster.height);
  return all;
};
