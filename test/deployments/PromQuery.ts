/**
 * What a query of Prometheus asks for, as far as tests need to know.
 */
import { type Family, families } from "../../src/metrics/Catalog.js";

/** The names of ours that stand in a text: queries, and prose that quotes a metric. */
export const named = (text: string): ReadonlyArray<string> => [...new Set(text.match(/\blb_[a-z0-9_]*/g))];

/** Each of our metrics that a query selects, with the labels that it asks for. */
export const selectors = (query: string): ReadonlyArray<string> => [
  ...new Set(query.match(/\blb_[a-z0-9_]*(?:\{[^}]*\})?/g)),
];

const suffixes: Readonly<Record<Family["type"], ReadonlyArray<string>>> = {
  counter: ["_total"],
  gauge: [""],
  histogram: ["_bucket", "_sum", "_count"],
};

/** Every name that `/metrics` has, as Prometheus stores it. */
export const stored: ReadonlySet<string> = new Set(
  families.flatMap(({ name, type }) => suffixes[type].map((suffix) => `${name}${suffix}`)),
);
