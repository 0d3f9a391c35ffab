/**
 * How many connections each member has, and which can take one more: the part of a pool that changes with every
 * connection, as an immutable value. A member is open when it is eligible and below its limit.
 *
 * For each chunk of slots it is known how many are open and the lowest load among those, so that finding one looks at
 * one list of chunks and at one or two chunks. The open members of each weight stand in a set of bits, which changes
 * only when a member opens, closes or gets another weight.
 */
import * as Bits from "./Bits.js";
import { chunkOf, chunkSize, placeOf } from "./PersistentVector.js";

/**
 * The connections of some neighbouring slots, up to the last that was ever set: in a small pool there is little to
 * copy.
 *
 * @since 0.2.0
 * @category models
 */
export interface Chunk {
  readonly connections: ReadonlyArray<number>;
  /** The weight of each; undefined while all weigh 1. */
  readonly weights: ReadonlyArray<number> | undefined;
  /** Connections over weight of each: the same list as `connections` while all weigh 1. */
  readonly ratios: ReadonlyArray<number>;
  readonly isOpen: ReadonlyArray<boolean>;
  /** Members that are open. */
  readonly open: number;
  /** The lowest ratio of those; Infinity where there is none. */
  readonly least: number;
}

/**
 * The open members of one weight.
 *
 * @since 0.2.0
 * @category models
 */
export interface WeightClass {
  readonly weight: number;
  /** How many they are: one at least. */
  readonly open: number;
  /** Their slots as a set of bits: slot `n` is bit `n mod 32` of the number at `n / 32`. */
  readonly slots: ReadonlyArray<number>;
}

/**
 * The load of one moment.
 *
 * @since 0.2.0
 * @category models
 */
export interface Load {
  readonly chunks: ReadonlyArray<Chunk>;
  /** How many members are open. */
  readonly open: number;
  /** The fewest connections over weight that an open member has; Infinity where there is none. */
  readonly least: number;
  /** The open members by weight, the lowest weight first. */
  readonly classes: ReadonlyArray<WeightClass>;
  /** The weights of the classes. The same list until there is another class, or one less. */
  readonly weights: ReadonlyArray<number>;
  /** The sum of the weights of all members that are open. */
  readonly weight: number;
  /** For each class that sum up to and including it. */
  readonly weightsUpTo: ReadonlyArray<number>;
}

/**
 * No member is open.
 *
 * @since 0.2.0
 * @category constructors
 */
export const empty: Load = {
  ...{ chunks: [], open: 0, least: Infinity },
  ...{ classes: [], weights: [], weight: 0, weightsUpTo: [] },
};

const emptyChunk: Chunk = {
  ...{ connections: [], weights: undefined, ratios: [], isOpen: [] },
  ...{ open: 0, least: Infinity },
};

/**
 * How many connections the member in a slot has; 0 where there is none.
 *
 * @since 0.2.0
 * @category getters
 */
export const connections = (load: Load, slot: number): number =>
  load.chunks[chunkOf(slot)]?.connections[placeOf(slot)] ?? 0;

/**
 * How many connections over its weight the member in a slot has; 0 where there is none.
 *
 * @since 0.2.0
 * @category getters
 */
export const ratio = (load: Load, slot: number): number =>
  load.chunks[chunkOf(slot)]?.ratios[placeOf(slot)] ?? 0;

/**
 * Whether the member in a slot can take one more connection.
 *
 * @since 0.2.0
 * @category getters
 */
export const isOpen = (load: Load, slot: number): boolean =>
  load.chunks[chunkOf(slot)]?.isOpen[placeOf(slot)] ?? false;

// The weights of a chunk with another one at a place; undefined where all weigh 1.
const withWeight = (weights: Chunk["weights"], place: number, weight: number): Chunk["weights"] => {
  const after = weights?.slice() ?? [];
  while (after.length < place) after.push(1);
  after[place] = weight;
  return after.every((one) => one === 1) ? undefined : after;
};

type Classes = Pick<Load, "classes" | "weights" | "weight" | "weightsUpTo">;

// The classes with a slot put into, or taken out of, that of a weight.
const withSlot = (before: Classes, weight: number, slot: number, isOpen: boolean): Classes => {
  let at = 0;
  for (let end = before.weights.length; at < end; ) {
    const middle = (at + end) >> 1;
    if ((before.weights[middle] as number) < weight)
      at = middle + 1; // middle is within.
    else end = middle;
  }
  const found = before.weights[at] === weight ? before.classes[at] : undefined;
  const open = (found?.open ?? 0) + (isOpen ? 1 : -1);
  const slots = Bits.set(found?.slots ?? [], slot, isOpen);
  const classes = before.classes.slice();
  let weights = before.weights;
  const weightsUpTo = before.weightsUpTo.slice();
  if (found !== undefined && open > 0) {
    classes[at] = { weight, open, slots };
  } else {
    const others = weights.slice();
    const gone = found === undefined ? 0 : 1;
    const come = open === 0 ? 0 : 1;
    classes.splice(at, gone, ...(come ? [{ weight, open, slots }] : []));
    others.splice(at, gone, ...(come ? [weight] : []));
    weightsUpTo.splice(at, gone, ...(come ? [0] : []));
    weights = others;
  }
  // Anew from there on: sums and differences of fractions would stray from it.
  let sum = weightsUpTo[at - 1] ?? 0;
  for (let i = at; i < classes.length; i++) {
    const one = classes[i] as WeightClass; // i is within.
    sum += one.open * one.weight;
    weightsUpTo[i] = sum;
  }
  return { classes, weights, weight: sum, weightsUpTo };
};

/**
 * The same load with other values for one slot. Its weight is a number above 0; the one that it had, or 1, unless
 * something else is said.
 *
 * @since 0.2.0
 * @category accessors
 */
export const set = (
  load: Load,
  slot: number,
  connections: number,
  isOpen: boolean,
  weight?: number,
): Load => {
  const at = chunkOf(slot);
  const place = placeOf(slot);
  const before = load.chunks[at] ?? emptyChunk;
  const wasOpen = before.isOpen[place] === true;
  const weighed = before.weights?.[place] ?? 1;
  const weighs = weight ?? weighed;
  const counts = before.connections.slice();
  while (counts.length < place) counts.push(0);
  counts[place] = connections;
  const weights = weighs === weighed ? before.weights : withWeight(before.weights, place, weighs);
  let ratios = counts;
  if (weights !== undefined) {
    ratios = before.ratios.slice();
    while (ratios.length < place) ratios.push(0);
    ratios[place] = connections / weighs;
  }
  let flags = before.isOpen;
  if (isOpen !== wasOpen) {
    const copy = flags.slice();
    while (copy.length < place) copy.push(false);
    copy[place] = isOpen;
    flags = copy;
  }
  let least = Infinity;
  for (let i = 0; i < ratios.length; i++) {
    const ratio = ratios[i] as number; // i is within.
    if (ratio < least && flags[i]) least = ratio;
  }
  const change = (isOpen ? 1 : 0) - (wasOpen ? 1 : 0);
  const chunks = load.chunks.slice();
  while (chunks.length < at) chunks.push(emptyChunk);
  chunks[at] = { connections: counts, weights, ratios, isOpen: flags, open: before.open + change, least };
  let leastOfAll = Infinity;
  for (const chunk of chunks) if (chunk.least < leastOfAll) leastOfAll = chunk.least;
  let all: Classes = load;
  if (isOpen !== wasOpen || weighs !== weighed) {
    if (wasOpen) all = withSlot(all, weighed, slot, false);
    if (isOpen) all = withSlot(all, weighs, slot, true);
  }
  const { classes, weight: weightOfAll, weights: weightsOfAll, weightsUpTo } = all;
  const open = load.open + change;
  return {
    chunks,
    open,
    least: leastOfAll,
    classes,
    weights: weightsOfAll,
    weight: weightOfAll,
    weightsUpTo,
  };
};

// The first open slot from a place of one chunk on whose ratio is at most this; -1 where there is none.
const inChunk = ({ isOpen, ratios }: Chunk, from: number, most: number): number => {
  for (let i = from; i < ratios.length; i++) {
    if (isOpen[i] && (ratios[i] as number) <= most) return i; // i is within.
  }
  return -1;
};

const next = (load: Load, after: number, most: number): number | undefined => {
  if (load.open === 0) return undefined;
  const count = load.chunks.length;
  const first = chunkOf(after + 1);
  const begun = load.chunks[first];
  if (begun !== undefined) {
    const place = inChunk(begun, placeOf(after + 1), most);
    if (place >= 0) return first * chunkSize + place;
  }
  // The chunks behind it, then those before it, and last the slots up to `after` of the one it began in.
  const behind = first < count ? first + 1 : 0;
  for (let i = 0; i < count; i++) {
    const at = (behind + i) % count;
    const chunk = load.chunks[at];
    if (chunk === undefined || chunk.open === 0 || chunk.least > most) continue;
    return at * chunkSize + inChunk(chunk, 0, most);
  }
  return undefined;
};

/**
 * The first open slot behind slot `after` (-1 is before the first), going round from the last to the first; undefined
 * where none is open.
 *
 * @example
 * ```ts
 * import { Load } from "zeitwork-load-balancer"
 *
 * const load = Load.set(Load.set(Load.empty, 0, 7, true), 1, 2, true)
 * Load.nextOpen(load, 0) // 1
 * Load.nextLeastLoaded(load, -1) // 1: it has two connections, the other seven
 * ```
 *
 * @since 0.2.0
 * @category getters
 */
export const nextOpen = (load: Load, after: number): number | undefined => next(load, after, Infinity);

/**
 * The first slot behind slot `after` that has the fewest connections over its weight of all that are open, going round
 * from the last to the first; undefined where none is open.
 *
 * @since 0.2.0
 * @category getters
 */
export const nextLeastLoaded = (load: Load, after: number): number | undefined =>
  next(load, after, load.least);
