/**
 * The table of backends: what a row shows, which rows are shown, and in which order. Pure.
 */
import type { BackendStatus } from "../monitoring/Api.js";
import { reason, type State, stateOf } from "../monitoring/BackendState.js";
import { keyOf } from "../monitoring/StatusDelta.js";
import * as Format from "./Format.js";

export type Backend = typeof BackendStatus.Type;

export interface Row extends Backend {
  /** Identity is id and address together. */
  readonly key: string;
  readonly state: State;
  /** Part of the new connections, 0 to 1. */
  readonly share: number | undefined;
}

export const row = (backend: Backend, shares: ReadonlyMap<string, number>): Row => {
  const key = keyOf(backend);
  return { ...backend, key, state: stateOf(backend), share: shares.get(key) };
};

export interface Column {
  readonly name: string;
  readonly title: string;
  /** What the column's order compares; undefined stands last, whichever the direction. */
  readonly by: (row: Row) => number | string | undefined;
  /** The direction that one wants first. */
  readonly first: Direction;
  readonly text: (row: Row, now: number) => string;
}

export type Direction = "ascending" | "descending";

export interface Order {
  readonly column: string;
  readonly direction: Direction;
}

const figure = (
  name: string,
  title: string,
  by: (row: Row) => number | undefined,
  text: (row: Row) => string,
): Column => ({ name, title, by, first: "descending", text });

const instant = (text: string | null): number | undefined => (text === null ? undefined : Date.parse(text));

// What needs attention comes first.
const severity: Readonly<Record<State, number>> = { down: 0, disabled: 1, draining: 2, unchecked: 3, up: 4 };

export const columns: ReadonlyArray<Column> = [
  { name: "backend", title: "Backend", by: ({ id }) => id, first: "ascending", text: ({ id }) => id },
  {
    name: "state",
    title: "State",
    by: ({ state }) => severity[state],
    first: "ascending",
    text: ({ state }) => state,
  },
  {
    name: "since",
    title: "For",
    by: ({ since }) => instant(since),
    first: "descending",
    text: ({ since }, now) => Format.age(since, now),
  },
  figure(
    "weight",
    "Weight",
    ({ weight }) => weight,
    ({ slow_start, weight }) =>
      slow_start === null ? String(weight) : `${Math.round(slow_start * 100)} % of ${weight}`,
  ),
  figure(
    "open",
    "Open",
    ({ open }) => open,
    ({ max_connections, open }) =>
      max_connections === null
        ? Format.count(open)
        : `${Format.count(open)} of ${Format.count(max_connections)}`,
  ),
  figure(
    "peak",
    "Peak",
    ({ peak }) => peak,
    ({ peak }) => Format.count(peak),
  ),
  figure(
    "total",
    "Total",
    ({ total }) => total,
    ({ total }) => Format.count(total),
  ),
  figure(
    "share",
    "Share (1 min)",
    ({ share }) => share,
    ({ share }) => Format.share(share),
  ),
  figure(
    "received",
    "From clients",
    ({ received }) => received,
    ({ received }) => Format.bytes(received),
  ),
  figure(
    "sent",
    "To clients",
    ({ sent }) => sent,
    ({ sent }) => Format.bytes(sent),
  ),
  figure(
    "connect",
    "Connect",
    ({ connect_ms }) => connect_ms ?? undefined,
    ({ connect_ms }) => Format.millis(connect_ms),
  ),
  figure(
    "failures",
    "Failures",
    ({ connect_failures }) => connect_failures,
    ({ connect_failures }) => Format.count(connect_failures),
  ),
  {
    name: "checked",
    title: "Checked",
    by: ({ last_check }) => instant(last_check),
    first: "ascending",
    text: ({ last_check }, now) =>
      last_check === null ? "never" : `${Format.duration(now - Date.parse(last_check))} ago`,
  },
];

// backend-2 stands before backend-10.
const natural = new Intl.Collator("en", { numeric: true });

const compared = (left: number | string, right: number | string): number =>
  typeof left === "number" && typeof right === "number"
    ? left - right
    : natural.compare(String(left), String(right));

/** In this order; rows that are equal in it stand by id, then address, so that none moves without a reason. */
export const sorted = (rows: ReadonlyArray<Row>, { column, direction }: Order): ReadonlyArray<Row> => {
  const by = columns.find(({ name }) => name === column)?.by ?? (() => undefined);
  const sign = direction === "ascending" ? 1 : -1;
  return rows
    .map((each) => ({ each, value: by(each) }))
    .sort((left, right) => {
      if (left.value !== undefined && right.value !== undefined) {
        const order = sign * compared(left.value, right.value);
        if (order !== 0) return order;
      } else if (left.value !== right.value) return left.value === undefined ? 1 : -1;
      return (
        natural.compare(left.each.id, right.each.id) || natural.compare(left.each.address, right.each.address)
      );
    })
    .map(({ each }) => each);
};

/** What a header does when it is pressed: its own direction first, and the other one when it is pressed again. */
export const pressed = (order: Order, column: string): Order => {
  if (order.column === column) {
    return { column, direction: order.direction === "ascending" ? "descending" : "ascending" };
  }
  return { column, direction: columns.find(({ name }) => name === column)?.first ?? "ascending" };
};

export interface Filter {
  /** Words that all have to stand in the id, the address or the reason. */
  readonly text: string;
  readonly state: State | "all";
}

export const passes = ({ state, text }: Filter): ((row: Row) => boolean) => {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  return (row) => {
    if (state !== "all" && row.state !== state) return false;
    const within = `${row.id} ${row.address} ${reason(row)}`.toLowerCase();
    return words.every((word) => within.includes(word));
  };
};

/**
 * `wanted` with the rows that already stand on the page where they are, and new ones at the end: for as long as
 * somebody points at a row, it must not go away from under the pointer.
 */
export const held = (standing: ReadonlyArray<string>, wanted: ReadonlyArray<Row>): ReadonlyArray<Row> => {
  const byKey = new Map(wanted.map((each) => [each.key, each]));
  const stays = standing.flatMap((key) => byKey.get(key) ?? []);
  const known = new Set(standing);
  return [...stays, ...wanted.filter(({ key }) => !known.has(key))];
};
