/**
 * How many connections each member has, and which can take one more: the part of a pool that changes with every
 * connection, as an immutable value. A member is open when it is eligible and below its limit.
 *
 * For each chunk of slots it is known how many are open and the fewest connections among those, so that finding one looks
 * at one list of chunks and at one or two chunks.
 */
import { chunkOf, chunkSize, placeOf } from "./Slots.js";

/**
 * The connections of some neighbouring slots, up to the last that was ever set: in a small pool there is little to copy.
 *
 * @since 0.2.0
 * @category models
 */
export interface Chunk {
  readonly connections: ReadonlyArray<number>;
  readonly isOpen: ReadonlyArray<boolean>;
  /** Members that are open. */
  readonly open: number;
  /** The fewest connections of those; Infinity where there is none. */
  readonly least: number;
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
  /** The fewest connections that an open member has; Infinity where there is none. */
  readonly least: number;
}

/**
 * No member is open.
 *
 * @since 0.2.0
 * @category constructors
 */
export const empty: Load = { chunks: [], open: 0, least: Infinity };

const emptyChunk: Chunk = { connections: [], isOpen: [], open: 0, least: Infinity };

/**
 * How many connections the member in a slot has; 0 where there is none.
 *
 * @since 0.2.0
 * @category getters
 */
export const connections = (load: Load, slot: number): number =>
  load.chunks[chunkOf(slot)]?.connections[placeOf(slot)] ?? 0;

/**
 * Whether the member in a slot can take one more connection.
 *
 * @since 0.2.0
 * @category getters
 */
export const isOpen = (load: Load, slot: number): boolean =>
  load.chunks[chunkOf(slot)]?.isOpen[placeOf(slot)] ?? false;

/**
 * The same load with other values for one slot.
 *
 * @since 0.2.0
 * @category accessors
 */
export const set = (load: Load, slot: number, connections: number, isOpen: boolean): Load => {
  const at = chunkOf(slot);
  const place = placeOf(slot);
  const before = load.chunks[at] ?? emptyChunk;
  const wasOpen = before.isOpen[place] === true;
  const counts = before.connections.slice();
  while (counts.length < place) counts.push(0);
  counts[place] = connections;
  let flags = before.isOpen;
  if (isOpen !== wasOpen) {
    const copy = flags.slice();
    while (copy.length < place) copy.push(false);
    copy[place] = isOpen;
    flags = copy;
  }
  let least = Infinity;
  for (let i = 0; i < counts.length; i++) {
    const count = counts[i] as number; // i is within.
    if (count < least && flags[i]) least = count;
  }
  const change = (isOpen ? 1 : 0) - (wasOpen ? 1 : 0);
  const chunks = load.chunks.slice();
  while (chunks.length < at) chunks.push(emptyChunk);
  chunks[at] = { connections: counts, isOpen: flags, open: before.open + change, least };
  let leastOfAll = Infinity;
  for (const chunk of chunks) if (chunk.least < leastOfAll) leastOfAll = chunk.least;
  return { chunks, open: load.open + change, least: leastOfAll };
};

// The first open slot from a place of one chunk on that has at most so many connections; -1 where there is none.
const inChunk = ({ connections, isOpen }: Chunk, from: number, most: number): number => {
  for (let i = from; i < connections.length; i++) {
    if (isOpen[i] && (connections[i] as number) <= most) return i; // i is within.
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
 * The first slot behind slot `after` that has the fewest connections of all that are open, going round from the last to
 * the first; undefined where none is open.
 *
 * @since 0.2.0
 * @category getters
 */
export const nextLeastLoaded = (load: Load, after: number): number | undefined =>
  next(load, after, load.least);
