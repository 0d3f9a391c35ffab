/**
 * Round-robin: the open members in turn, in the order of their slots, as often as their weights say.
 *
 * With unequal weights it is smooth weighted round-robin, as nginx has it: each choice adds to every open member's
 * credit its weight, takes one with the most credit (of several the first), and takes the sum of all weights from that.
 * Weights 5, 1, 1 give a a b a c a a. Between two choices all members of one weight gain alike, and each has had as
 * many turns as the others or one more. So they take turns among themselves, and it is enough to know the credit of the
 * one whose turn is next: a choice looks at one credit for each different weight, and not at every member.
 */
import type { Algorithm, Choice } from "./Algorithm.js";
import * as Bits from "./Bits.js";
import { type Load, nextOpen, type WeightClass } from "./Load.js";

/**
 * Saved state of a weight class that has no open member.
 *
 * @since 0.2.0
 * @category models
 */
export interface Closed {
  readonly weight: number;
  readonly credit: number;
  readonly last: number;
  /** Already closed at the last normalization. */
  readonly isStale: boolean;
}

/**
 * The state of some neighbouring weight classes: lists with an element for each.
 *
 * @since 0.2.0
 * @category models
 */
export interface Group {
  /** The credit of the member of this weight whose turn is next is `choices` times the weight, less this. */
  readonly debts: ReadonlyArray<number>;
  /** The slot of the member of this weight that was chosen last; -1 where a round of them begins. */
  readonly lasts: ReadonlyArray<number>;
  /** The place in these lists of the class with the most credit. */
  readonly first: number;
  /** It is that up to and including this number of choices. */
  readonly until: number;
}

/**
 * The state of the weight classes.
 *
 * @since 0.2.0
 * @category models
 */
export interface Turns {
  /** Those of the members that were open at the last choice, the lowest first. */
  readonly weights: ReadonlyArray<number>;
  /** The same classes, sixteen in each group but the last. */
  readonly groups: ReadonlyArray<Group>;
  /** Choices since the last normalization of the debts. */
  readonly choices: number;
  /** The greatest sum of the weights of all open members since then. */
  readonly total: number;
  readonly closed: ReadonlyArray<Closed>;
}

/**
 * What round-robin remembers.
 *
 * @since 0.2.0
 * @category models
 */
export interface State {
  /** The slot that it chose last; -1 before the first. */
  readonly last: number;
  /** Undefined while all open members weigh the same. */
  readonly turns: Turns | undefined;
}

// Weight classes in a group. Of 256 classes, a choice looks at 16 groups, and sometimes at the 16 classes of one of them.
const groupSize = 16;

const noTurns: Turns = { weights: [], groups: [], choices: 0, total: 0, closed: [] };

// Normalize debts every 10,000 choices, so that numbers stay small. Weight classes closed since the last one are
// dropped.
const mostChoices = 10_000;

// Keep at most 64 closed weight classes, as full members may reopen.
const mostClosed = 64;

const isSame = (some: ReadonlyArray<number>, others: ReadonlyArray<number>): boolean =>
  some === others || (some.length === others.length && some.every((one, i) => one === others[i]));

const isCurrent = ({ choices, total, weights }: Turns, load: Load): boolean =>
  isSame(weights, load.weights) && choices < mostChoices && load.weight * 2 >= total;

// Where the members of a new weight begin: they have as much credit as debt together. Those whose slots are up to the
// last choice have had their turn of this round, and are a round behind the others.
const begun = (
  { open, slots }: WeightClass,
  last: number,
  total: number,
): Pick<Closed, "credit" | "last"> => {
  const had = Bits.below(slots, last + 1);
  return had === open ? { credit: 0, last: -1 } : { credit: (total * had) / open, last };
};

// Normalizes the turns: one element for each weight of the open members, with choices at 0. A new weight goes on from
// the next lower one that has just closed, with its credit and its last slot: so a member whose weight rises (a slow
// start raises it nine times) neither loses nor wins a turn by that. Debts are clamped to one round of the open members,
// for when many have left.
const normalized = (turns: Turns, { classes, weight: total, weights }: Load, last: number): Turns => {
  const before = new Map<number, Closed>();
  for (const one of turns.closed) {
    if (turns.choices < mostChoices) before.set(one.weight, one);
    else if (!one.isStale) before.set(one.weight, { ...one, isStale: true });
  }
  const open = new Set(weights);
  const were = new Set(turns.weights);
  // The lowest first, as weights are.
  const justClosed: Array<number> = [];
  turns.weights.forEach((weight, i) => {
    const group = turns.groups[Math.floor(i / groupSize)];
    const credit = turns.choices * weight - (group?.debts[i % groupSize] ?? 0);
    before.set(weight, { weight, credit, last: group?.lasts[i % groupSize] ?? last, isStale: false });
    if (!open.has(weight)) justClosed.push(weight);
  });
  const debts: Array<number> = [];
  const lasts: Array<number> = [];
  const lower: Array<number> = [];
  let at = 0;
  for (const one of classes) {
    const { weight } = one;
    for (; (justClosed[at] ?? Infinity) < weight; at++) lower.push(justClosed[at] as number); // at is within.
    const from = were.has(weight) ? undefined : lower.pop();
    const { credit, last: lastOfWeight } = before.get(from ?? weight) ?? begun(one, last, total);
    before.delete(weight);
    if (from !== undefined) before.delete(from);
    debts.push(Math.max(-total, Math.min(total, -credit)) + 0);
    lasts.push(lastOfWeight);
  }
  const groups: Array<Group> = [];
  for (let from = 0; from < weights.length; from += groupSize) {
    const to = from + groupSize;
    groups.push({ debts: debts.slice(from, to), lasts: lasts.slice(from, to), first: 0, until: 0 });
  }
  return { weights, groups, choices: 0, total, closed: [...before.values()].slice(-mostClosed) };
};

const nextIn = ({ slots }: WeightClass, after: number): number => {
  const behind = Bits.next(slots, after + 1);
  return behind >= 0 ? behind : Bits.next(slots, 0);
};

// The slot of the member of a class whose turn is next.
const nextOf = ({ lasts }: Group, place: number, classes: Load["classes"], from: number): number =>
  nextIn(classes[from + place] as WeightClass, lasts[place] as number); // place is within.

// The group with its first at this number of choices. Its classes are those from `from` on.
const ranked = (group: Group, { classes, weights }: Load, from: number, choices: number): Group => {
  const { debts, lasts } = group;
  let first = 0;
  let most = -Infinity;
  for (let place = 0; place < debts.length; place++) {
    const credit = choices * (weights[from + place] as number) - (debts[place] as number); // place is within.
    const isFirst =
      credit === most
        ? nextOf(group, place, classes, from) < nextOf(group, first, classes, from)
        : credit > most;
    if (!isFirst) continue;
    first = place;
    most = credit;
  }
  // Until a heavier one has as much credit. Two of different weights never have the same for two choices in a row.
  const weight = weights[from + first] as number; // first is within, as place is.
  const debt = debts[first] as number;
  let until = mostChoices;
  for (let place = first + 1; place < debts.length; place++) {
    const more = (weights[from + place] as number) - weight;
    until = Math.min(until, Math.ceil(((debts[place] as number) - debt) / more) - 1);
  }
  return { debts, lasts, first, until };
};

const inTurns = (load: Load, last: number, before: Turns): Choice<State> | undefined => {
  if (load.open === 0) return undefined;
  const turns = isCurrent(before, load) ? before : normalized(before, load, last);
  const { closed } = turns;
  const { classes, weight: total, weights } = load;
  const choices = turns.choices + 1;
  const groups = turns.groups.slice();
  let best = 0;
  let most = -Infinity;
  let slot = -1;
  for (let at = 0; at < groups.length; at++) {
    const from = at * groupSize;
    let group = groups[at] as Group; // at is within.
    if (group.until < choices) {
      group = ranked(group, load, from, choices);
      groups[at] = group;
    }
    const credit = choices * (weights[from + group.first] as number) - (group.debts[group.first] as number); // Within too.
    if (credit > most) {
      most = credit;
      best = at;
      slot = -1;
    } else if (credit === most) {
      const chosen = groups[best] as Group; // best is within.
      if (slot < 0) slot = nextOf(chosen, chosen.first, classes, best * groupSize);
      const other = nextOf(group, group.first, classes, from);
      if (other > slot) continue;
      best = at;
      slot = other;
    }
  }
  const group = groups[best] as Group; // best is within, and first of it.
  const { debts, first, lasts } = group;
  if (slot < 0) slot = nextOf(group, first, classes, best * groupSize);
  // A round of these members ends with the last of them: the first has had one turn more then.
  const ends = Bits.next((classes[best * groupSize + first] as WeightClass).slots, slot + 1) < 0;
  const rounds = (ends ? 1 : 0) + (slot <= (lasts[first] as number) ? 1 : 0);
  const lastsAfter = lasts.slice();
  lastsAfter[first] = ends ? -1 : slot;
  let debtsAfter = debts;
  let { until } = group;
  if (rounds > 0) {
    const more = debts.slice();
    more[first] = (debts[first] as number) + rounds * total;
    debtsAfter = more;
    // Another may have the most credit of the group now.
    until = choices;
  }
  groups[best] = { debts: debtsAfter, lasts: lastsAfter, first, until };
  return {
    slot,
    state: {
      last: slot,
      turns: { weights, groups, choices, total: Math.max(turns.total, total), closed },
    },
  };
};

/**
 * Exact over a stable set of open members: of as many choices in a row as their weights add up to, each gets its
 * weight; with equal weights any k·n choices give each of n members k. A member that joins, leaves, recovers or is full
 * takes its place in the rotation without disturbing the turn of the others, and does not catch up on what it missed.
 *
 * @example
 * ```ts
 * import { BackendRegistry, roundRobin } from "zeitwork-load-balancer"
 *
 * const registry = BackendRegistry.layer({ algorithm: roundRobin })
 * ```
 *
 * @since 0.2.0
 * @category constructors
 */
export const roundRobin: Algorithm<State> = {
  name: "round-robin",
  initial: { last: -1, turns: undefined },
  choose: (_members, load, state) => {
    const { last, turns } = state;
    if (load.weights.length > 1 || (turns !== undefined && turns.weights.length + turns.closed.length > 1)) {
      return inTurns(load, last, turns ?? noTurns);
    }
    const slot = nextOpen(load, last);
    return slot === undefined ? undefined : { slot, state: { last: slot, turns: undefined } };
  },
};
