/**
 * Counters and histograms, and what they say at a moment. A backend has some twenty of them, and thousands of backends
 * may be listed at once, so each is a few numbers: its labels are written down when somebody asks.
 */
import type { Family } from "./Catalog.js";

/**
 * @since 0.2.0
 * @category models
 */
export type Labels = Readonly<Record<string, string>>;

/**
 * What a histogram has counted. The buckets are cumulative, the last one of infinity.
 *
 * @since 0.2.0
 * @category models
 */
export interface Distribution {
  readonly buckets: ReadonlyArray<readonly [bound: number, count: number]>;
  readonly sum: number;
  readonly count: number;
}

/**
 * One series of a metric, at one moment.
 *
 * @since 0.2.0
 * @category models
 */
export interface Series {
  /** Of its metric, without `_total`. */
  readonly name: string;
  readonly labels: Labels;
  readonly value: number | Distribution;
}

/** A series of a gauge, or of a counter that is kept elsewhere. */
export const make = <Label extends string>(
  family: Family<Label>,
  value: number,
  labels: Readonly<Record<Label, string>>,
): Series => ({ name: family.name, labels, value });

/** Where each update of one series goes besides. */
export type Update = (amount: number) => void;

/** Where updates go besides, by the family and the labels of a series. */
export type Forward = (family: Family, labels: Labels) => Update;

/** Counts from 0 up. */
export class Counter {
  value = 0;
  #forward: Update | undefined;

  constructor(
    readonly family: Family,
    readonly labels: Labels,
    forward: Forward | undefined,
  ) {
    this.#forward = forward?.(family, labels);
  }

  add(amount: number): void {
    this.value += amount;
    this.#forward?.(amount);
  }

  get series(): Series {
    return { name: this.family.name, labels: this.labels, value: this.value };
  }
}

/** The counters of one family that differ in a label: those of known values from the beginning, others as they come. */
export class Counters<Value extends string> {
  readonly #counts: Map<Value, number>;
  readonly #forwards = new Map<Value, Update>();

  constructor(
    readonly family: Family,
    known: ReadonlyArray<Value>,
    readonly labelsOf: (value: Value) => Labels,
    readonly forward: Forward | undefined,
  ) {
    this.#counts = new Map(known.map((value) => [value, 0]));
  }

  increment(value: Value): void {
    this.#counts.set(value, (this.#counts.get(value) ?? 0) + 1);
    if (this.forward === undefined) return;
    const update = this.#forwards.get(value) ?? this.forward(this.family, this.labelsOf(value));
    this.#forwards.set(value, update);
    update(1);
  }

  get total(): number {
    let total = 0;
    for (const count of this.#counts.values()) total += count;
    return total;
  }

  /** As they are now. */
  get byValue(): ReadonlyMap<Value, number> {
    return new Map(this.#counts);
  }

  get series(): ReadonlyArray<Series> {
    return Array.from(this.#counts, ([value, count]) => ({
      name: this.family.name,
      labels: this.labelsOf(value),
      value: count,
    }));
  }
}

/** Counts values by the bounds of its family. */
export class Histogram {
  /** How many were at most each bound and above the one before; the last ones were above all. */
  readonly #counts: Array<number>;
  #sum = 0;
  #count = 0;
  #forward: Update | undefined;

  constructor(
    readonly family: Family,
    readonly labels: Labels,
    forward: Forward | undefined,
  ) {
    this.#counts = new Array(family.bounds.length + 1).fill(0);
    this.#forward = forward?.(family, labels);
  }

  get sum(): number {
    return this.#sum;
  }

  get count(): number {
    return this.#count;
  }

  observe(value: number): void {
    const { bounds } = this.family;
    let bucket = 0;
    while (bucket < bounds.length && value > (bounds[bucket] as number)) bucket += 1; // inside the array
    this.#counts[bucket] = (this.#counts[bucket] as number) + 1; // it has one more than there are bounds
    this.#sum += value;
    this.#count += 1;
    this.#forward?.(value);
  }

  get series(): Series {
    let count = 0;
    const buckets = this.#counts.map((inBucket, i) => {
      count += inBucket;
      return [this.family.bounds[i] ?? Number.POSITIVE_INFINITY, count] as const;
    });
    return { name: this.family.name, labels: this.labels, value: { buckets, sum: this.#sum, count } };
  }
}
