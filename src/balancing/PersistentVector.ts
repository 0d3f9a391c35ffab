/**
 * An immutable vector of numbered slots, each vacant or with a value. A value keeps its slot; the lowest vacant slot is
 * assigned first.
 *
 * Slots are grouped in chunks of 64, and chunks in blocks of 64. Setting one slot copies its chunk, the list of its
 * block's chunks and the list of blocks, and shares the rest. For 100,000 slots these have 64, 64 and 25 elements.
 */

const bits = 6;
/** Slots in a chunk, and chunks in a block. */
export const chunkSize = 1 << bits;
const blockSize = chunkSize << bits;
/** The place of a slot in its chunk. */
export const placeOf = (slot: number): number => slot & (chunkSize - 1);
/** The chunk of a slot. */
export const chunkOf = (slot: number): number => slot >> bits;
/** The place of a slot's chunk in its block. */
const chunkInBlock = (slot: number): number => placeOf(chunkOf(slot));
/** The block of a slot. */
const blockOf = (slot: number): number => slot >> (bits + bits);

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
 * Some neighbouring chunks.
 *
 * @since 0.2.0
 * @category models
 */
export interface Block<A> {
  readonly chunks: ReadonlyArray<Chunk<A>>;
  /** Slots taken. */
  readonly size: number;
}

/**
 * Values by slot. An update returns a new vector; the old one does not change.
 *
 * @since 0.2.0
 * @category models
 */
export interface PersistentVector<out A> {
  readonly blocks: ReadonlyArray<Block<A>>;
  /** Slots taken. */
  readonly size: number;
}

export const empty: PersistentVector<never> = { blocks: [], size: 0 };

const emptyChunk: Chunk<never> = { values: new Array<undefined>(chunkSize).fill(undefined), size: 0 };
const emptyBlock: Block<never> = { chunks: [], size: 0 };

/** The value in a slot; undefined where there is none. */
export const get = <A>(slots: PersistentVector<A>, slot: number): A | undefined =>
  slots.blocks[blockOf(slot)]?.chunks[chunkInBlock(slot)]?.values[placeOf(slot)];

// A list with another element at a place; what is missing before it is filled up.
const put = <A>(list: ReadonlyArray<A>, at: number, element: A, missing: A): ReadonlyArray<A> => {
  const copy = list.slice();
  while (copy.length < at) copy.push(missing);
  copy[at] = element;
  return copy;
};

/** Puts a value into a slot, or vacates it. */
export const set = <A>(
  slots: PersistentVector<A>,
  slot: number,
  value: A | undefined,
): PersistentVector<A> => {
  const block: Block<A> = slots.blocks[blockOf(slot)] ?? emptyBlock;
  const chunk: Chunk<A> = block.chunks[chunkInBlock(slot)] ?? emptyChunk;
  const values = chunk.values.slice();
  const change = (value === undefined ? 0 : 1) - (values[placeOf(slot)] === undefined ? 0 : 1);
  values[placeOf(slot)] = value;
  const changed = { values, size: chunk.size + change };
  const chunks = put(block.chunks, chunkInBlock(slot), changed, emptyChunk);
  return {
    blocks: put(slots.blocks, blockOf(slot), { chunks, size: block.size + change }, emptyBlock),
    size: slots.size + change,
  };
};

/** The lowest vacant slot. */
export const vacant = ({ blocks }: PersistentVector<unknown>): number => {
  const inBlock = blocks.findIndex(({ size }) => size < blockSize);
  if (inBlock === -1) return blocks.length * blockSize;
  const chunks = blocks[inBlock]?.chunks ?? [];
  const inChunk = chunks.findIndex(({ size }) => size < chunkSize);
  const chunk = inChunk === -1 ? chunks.length : inChunk;
  const place = chunks[chunk]?.values.indexOf(undefined) ?? 0;
  return inBlock * blockSize + chunk * chunkSize + place;
};

/** The values chunk by chunk, in the order of slots, with undefined where there is none. */
export function* chunks<A>({ blocks }: PersistentVector<A>): Generator<ReadonlyArray<A | undefined>, void> {
  for (const block of blocks) for (const { values } of block.chunks) yield values;
}

/** Every value in the order of slots, one by one. */
export function* iterate<A>(slots: PersistentVector<A>): Generator<A, void> {
  for (const values of chunks(slots)) for (const value of values) if (value !== undefined) yield value;
}

/** Every value in the order of slots. */
export const toArray = <A>(slots: PersistentVector<A>): Array<A> => {
  const all: Array<A> = [];
  for (const values of chunks(slots)) for (const value of values) if (value !== undefined) all.push(value);
  return all;
};
