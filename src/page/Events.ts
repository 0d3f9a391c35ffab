/**
 * What happened, newest first. Pure.
 */
import type { Event } from "../monitoring/Api.js";
import { reasonText } from "../monitoring/RefusedClients.js";
import * as Format from "./Format.js";

export interface Entry extends Omit<typeof Event.Type, "at"> {
  readonly key: string;
  /** In milliseconds since the epoch. */
  readonly at: number;
}

/** How many are kept. */
export const kept = 200;

/** A balancer that was started anew counts from 1 again: an id names an event only together with its time. */
export const entry = ({ at, ...event }: typeof Event.Type): Entry => ({
  ...event,
  key: `${event.id} ${at}`,
  at: Date.parse(at),
  // One of a fixed list is called by its address.
  ...(event.backend === undefined ? {} : { backend: event.backend.replace(/^(.+) \(\1\)$/, "$1") }),
});

/** With one more, unless it is there already: after a reconnect the last ones come again. */
export const append = (all: ReadonlyArray<Entry>, next: Entry): ReadonlyArray<Entry> =>
  all.some(({ key }) => key === next.key) ? all : [next, ...all].slice(0, kept);

const phases: Readonly<Record<string, string>> = {
  starting: "the balancer starts",
  serving: "the balancer takes clients",
  stopping: "the balancer is about to stop: clients should go elsewhere",
  draining: "the balancer drains: it takes no new clients",
};

const connections = (count: number): string =>
  count === 1 ? "1 connection was refused" : `${Format.count(count)} connections were refused`;

/** One line of plain text. */
export const text = ({ backend = "", count = 0, detail, kind, reason = "", seconds = 0 }: Entry): string => {
  switch (kind) {
    case "added":
      return `${backend} was discovered`;
    case "removed":
      return `${backend} is no longer listed`;
    case "altered":
      return `${backend} is listed otherwise: ${detail ?? ""}`;
    case "slow-start":
      return `${backend} has ${detail ?? "more of its weight"}`;
    case "up":
      return `${backend} is up`;
    case "down":
      return detail === undefined ? `${backend} is down` : `${backend} is down: ${detail}`;
    case "steered":
      return `${backend}: ${detail ?? "steered"}`;
    case "cut":
      return `${backend === "" ? "" : `${backend}: `}cut: ${detail ?? "a connection"}`;
    case "phase":
      return phases[detail ?? ""] ?? `the balancer is ${detail ?? "in another phase"}`;
    case "refusals-began":
      return `connections are refused: ${reasonText(reason)}`;
    case "refusals-ended":
      return `${connections(count)} in ${Format.duration(seconds * 1000)}, none since: ${reasonText(reason)}`;
  }
};

/** What a screen reader says of so many at once. */
export const announcement = (entries: ReadonlyArray<Entry>): string => {
  const lines = entries.slice(0, 3).map(text);
  const more = entries.length - lines.length;
  return [...lines, ...(more > 0 ? [`and ${more} more`] : [])].join(". ");
};
