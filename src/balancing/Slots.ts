/**
 * Values in numbered slots, as an immutable value. A value keeps its slot for as long as it is there; the lowest vacant
 * slot is given out first.
 *
 * Slots stand in chunks: to change one copies its chunk and the list of chunks, which for 10,000 slots are 64 and 157
 * elements, and shares the rest.
 */

const bits = 6;
/** Slots in a chunk. */
export const chunkSize = 1 << bits;
/** The place of a slot in its chunk. */
export const placeOf = (slot: number): number => slot & (chunkSize - 1);
/** The chunk of a slot. */
export const chunkOf = (slot: number): number => slot >> bits;

/**
 * The values of some neighbouring slots.
 *
 * @since 0.2.0
 * @category models
 */
export interface Chunk<A> {
  readonly values: ReadonlyArray<A | undefined>;
  /** Slots taken. */
  readonly size: number;
}

/**
 * Values by slot, of which an older one stays as it was.
 *
 * @since 0.2.0
 * @category models
 */
export interface Slots<out A> {
  readonly chunks: ReadonlyArray<Chunk<A>>;
  /** Slots taken. */
  readonly size: number;
}

export const empty: Slots<never> = { chunks: [], size: 0 };

const emptyChunk: Chunk<never> = { values: new Array<undefined>(chunkSize).fill(undefined), size: 0 };

/** The value in a slot; undefined where there is none. */
export const get = <A>(slots: Slots<A>, slot: number): A | undefined =>
  slots.chunks[chunkOf(slot)]?.values[placeOf(slot)];

/** Puts a value into a slot, or vacates it. */
export const set = <A>(slots: Slots<A>, slot: number, value: A | undefined): Slots<A> => {
  const at = chunkOf(slot);
  const before: Chunk<A> = slots.chunks[at] ?? emptyChunk;
  const values = before.values.slice();
  const change = (value === undefined ? 0 : 1) - (values[placeOf(slot)] === undefined ? 0 : 1);
  values[placeOf(slot)] = value;
  const chunks = slots.chunks.slice();
  while (chunks.length < at) chunks.push(emptyChunk);
  chunks[at] = { values, size: before.size + change };
  return { chunks, size: slots.size + change };
};

/** The lowest vacant slot. */
export const vacant = (slots: Slots<unknown>): number => {
  const all = slots.chunks.length * chunkSize;
  if (slots.size === all) return all;
  const at = slots.chunks.findIndex(({ size }) => size < chunkSize);
  return at * chunkSize + (slots.chunks[at]?.values.indexOf(undefined) ?? 0);
};

/** Every value in the order of slots. */
export const toArray = <A>(slots: Slots<A>): Array<A> => {
  const all: Array<A> = [];
  for (const { values } of slots.chunks) {
    for (const value of values) if (value !== undefined) all.push(value);
  }
  return all;
};
