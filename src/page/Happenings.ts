/**
 * The stream of what happened, newest first. Pure.
 */
import type { Event } from "../monitoring/Feed.js";
import * as Format from "./Format.js";

export interface Happening {
  readonly key: string;
  /** In milliseconds since the epoch. */
  readonly at: number;
  readonly kind: Event["kind"] | "refused";
  readonly backend?: string | undefined;
  readonly detail?: string | undefined;
  /** How many connections were refused. */
  readonly times?: number;
}

/** How many are kept. */
export const kept = 200;
/** Refusals that follow each other within so many milliseconds are one happening. */
const togetherMillis = 10_000;

/** A balancer begun anew counts from 1 again: only with its time is an id one of its kind. */
export const happening = ({ at, backend, detail, id, kind }: Event): Happening => ({
  key: `${id} ${at}`,
  at: Date.parse(at),
  kind,
  // One of a fixed list is called by its address.
  backend: backend?.replace(/^(.+) \(\1\)$/, "$1"),
  detail,
});

/** With one more, unless it is there already: whoever reconnects is told again what was before. */
export const append = (all: ReadonlyArray<Happening>, next: Happening): ReadonlyArray<Happening> =>
  all.some(({ key }) => key === next.key)
    ? all
    : [next, ...all].sort((left, right) => right.at - left.at).slice(0, kept);

/** With so many refusals more; a run of them is one happening that grows. */
export const refused = (
  all: ReadonlyArray<Happening>,
  times: number,
  at: number,
): ReadonlyArray<Happening> => {
  if (times <= 0) return all;
  const last = all.find(({ kind }) => kind === "refused");
  if (last === undefined || at - last.at > togetherMillis) {
    return append(all, { key: `refused ${at}`, at, kind: "refused", times });
  }
  return append(
    all.filter((each) => each !== last),
    { ...last, at, times: times + (last.times ?? 0) },
  );
};

const phases: Readonly<Record<string, string>> = {
  starting: "the balancer starts",
  serving: "the balancer takes clients",
  draining: "the balancer was told to stop: it drains",
};

/** One line of plain text. */
export const text = ({ backend = "", detail, kind, times = 0 }: Happening): string => {
  switch (kind) {
    case "added":
      return `${backend} was discovered`;
    case "removed":
      return `${backend} is no longer listed`;
    case "up":
      return `${backend} is up`;
    case "down":
      return detail === undefined ? `${backend} is down` : `${backend} is down: ${detail}`;
    case "steered":
      return `${backend}: ${detail ?? "steered"}`;
    case "phase":
      return phases[detail ?? ""] ?? `the balancer is ${detail ?? "in another phase"}`;
    case "refused":
      return times === 1
        ? "1 connection was refused: no backend could take it"
        : `${Format.count(times)} connections were refused: no backend could take them`;
  }
};

/** What a screen reader is told of so many at once. */
export const announcement = (news: ReadonlyArray<Happening>): string => {
  const lines = news.slice(0, 3).map(text);
  const more = news.length - lines.length;
  return [...lines, ...(more > 0 ? [`and ${more} more`] : [])].join(". ");
};
