/**
 * Counters and histograms, and what they say at a moment. A backend has some twenty of them, and thousands of backends
 * may be listed at once, so each is a few numbers: its labels are written out when it is read.
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

/**
 * Where each update of one series goes besides.
 *
 * @since 0.2.0
 * @category models
 */
export type Update = (amount: number) => void;

/**
 * Where updates go besides, by the family and the labels of a series.
 *
 * @since 0.2.0
 * @category models
 */
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

/** A family of counters that differ in some labels. */
export class CounterFamily<Value extends string> {
  constructor(
    readonly family: Family,
    /** What is counted from the beginning. */
    readonly known: ReadonlyArray<Value>,
    /** The labels that they differ in. */
    readonly labelsOf: (value: Value) => Labels,
  ) {}
}

/**
 * The counters of one family that differ in some labels: those of known values from the beginning, others as they come.
 */
export class Counters<Value extends string> {
  /** There once something was counted: thousands of backends have counted nothing yet. */
  #counts: Map<Value, number> | undefined;
  #forwards: Map<Value, Update> | undefined;

  constructor(
    readonly of: CounterFamily<Value>,
    /** The labels that they share. */
    readonly labels: Labels,
    readonly forward: Forward | undefined,
  ) {}

  increment(value: Value): void {
    this.#counts ??= new Map();
    this.#counts.set(value, (this.#counts.get(value) ?? 0) + 1);
    if (this.forward !== undefined) this.#updateOf(value, this.forward)(1);
  }

  /** The counts at this moment. */
  get byValue(): ReadonlyMap<Value, number> {
    const counts = new Map<Value, number>(this.of.known.map((value) => [value, 0]));
    for (const [value, count] of this.#counts ?? []) counts.set(value, count);
    return counts;
  }

  get total(): number {
    let total = 0;
    for (const count of this.#counts?.values() ?? []) total += count;
    return total;
  }

  get series(): ReadonlyArray<Series> {
    return Array.from(this.byValue, ([value, count]) => ({
      name: this.of.family.name,
      labels: this.#labelsOf(value),
      value: count,
    }));
  }

  #labelsOf(value: Value): Labels {
    return { ...this.labels, ...this.of.labelsOf(value) };
  }

  #updateOf(value: Value, forward: Forward): Update {
    this.#forwards ??= new Map();
    const update = this.#forwards.get(value) ?? forward(this.of.family, this.#labelsOf(value));
    this.#forwards.set(value, update);
    return update;
  }
}

/** Counts values by the bounds of its family. */
export class Histogram {
  /** How many were at most each bound and above the one before; the last ones were above all. There once any was. */
  #counts: Array<number> | undefined;
  #sum = 0;
  #count = 0;
  #forward: Update | undefined;

  constructor(
    readonly family: Family,
    readonly labels: Labels,
    forward: Forward | undefined,
  ) {
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
    this.#counts ??= new Array(bounds.length + 1).fill(0);
    this.#counts[bucket] = (this.#counts[bucket] ?? 0) + 1;
    this.#sum += value;
    this.#count += 1;
    this.#forward?.(value);
  }

  get series(): Series {
    let count = 0;
    const buckets = [...this.family.bounds, Number.POSITIVE_INFINITY].map((bound, i) => {
      count += this.#counts?.[i] ?? 0;
      return [bound, count] as const;
    });
    return { name: this.family.name, labels: this.labels, value: { buckets, sum: this.#sum, count } };
  }
}
