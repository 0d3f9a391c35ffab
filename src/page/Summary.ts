/**
 * The status line: the balancer as a whole.
 */
import type { Status } from "../monitoring/Api.js";
import { byId, element, setText } from "./Dom.js";
import * as Format from "./Format.js";
import type { Rates } from "./Samples.js";

export interface Summary {
  readonly status: typeof Status.Type;
  readonly rates: Rates | undefined;
}

type Mood = "good" | "warn" | "bad" | "";

interface Tile {
  readonly title: string;
  readonly text: (summary: Summary) => string;
  readonly mood?: (summary: Summary) => Mood;
}

const statusMood = {
  healthy: "good",
  degraded: "warn",
  unhealthy: "bad",
  stopping: "warn",
  draining: "warn",
} as const;

/** For how long a refusal marks its tile. */
const refusingMillis = 60_000;

/** How long ago something was, by the balancer's clock; undefined when it never was. */
const millisSince = ({ now }: typeof Status.Type, instant: string | null): number | undefined =>
  instant === null ? undefined : Date.parse(now) - Date.parse(instant);

/** Discovery asks every few seconds: a list older than this is worth a look. */
const oldListMillis = 60_000;

const tiles: ReadonlyArray<Tile> = [
  {
    title: "Status",
    text: ({ status }) => status.status,
    mood: ({ status }) => statusMood[status.status],
  },
  {
    title: "Healthy",
    text: ({ status }) =>
      `${Format.count(status.healthy_backends)} of ${Format.count(status.total_backends)}`,
    mood: ({ status }) => {
      if (status.healthy_backends === 0) return "bad";
      return status.healthy_backends < status.total_backends ? "warn" : "";
    },
  },
  {
    title: "Connections",
    text: ({ status: { open, queued } }) =>
      queued === 0 ? Format.count(open) : `${Format.count(open)}, ${Format.count(queued)} waiting`,
    mood: ({ status }) => (status.queued === 0 ? "" : "warn"),
  },
  { title: "New per second", text: ({ rates }) => Format.perSecond(rates?.served) },
  { title: "From clients", text: ({ rates }) => Format.throughput(rates?.received) },
  { title: "To clients", text: ({ rates }) => Format.throughput(rates?.sent) },
  {
    title: "Refused",
    text: ({ status }) => {
      const last = millisSince(status, status.last_refused);
      return last === undefined
        ? Format.count(status.refused)
        : `${Format.count(status.refused)}, last ${Format.duration(last)} ago`;
    },
    mood: ({ status }) =>
      (millisSince(status, status.last_refused) ?? refusingMillis) < refusingMillis ? "bad" : "",
  },
  {
    title: "List is from",
    text: ({ status }) =>
      status.discovered === null
        ? "not yet there"
        : `${Format.age(status.discovered, Date.parse(status.now))} ago`,
    mood: ({ status }) =>
      (millisSince(status, status.discovered) ?? Number.POSITIVE_INFINITY) > oldListMillis ? "warn" : "",
  },
];

const about = ({ algorithm, transport, uptime_seconds, version }: typeof Status.Type): string =>
  [
    algorithm,
    ...(version === null ? [] : [`version ${version}`]),
    ...(transport === null ? [] : [`${transport} transport`]),
    `running for ${Format.duration(uptime_seconds * 1000)}`,
  ].join(" · ");

/** Puts the tiles on the page; the answer shows a summary in them, or that nothing is known. */
export const make = (): ((summary: Summary | undefined) => void) => {
  const made = tiles.map((tile) => {
    const value = element("dd", {}, Format.unknown);
    const box = element("div", {}, element("dt", {}, tile.title), value);
    return { ...tile, value, box };
  });
  byId("summary", HTMLElement).append(...made.map(({ box }) => box));
  const line = byId("about", HTMLElement);

  return (summary) => {
    for (const { box, mood, text, value } of made) {
      setText(value, summary === undefined ? Format.unknown : text(summary));
      const now = (summary === undefined ? undefined : mood?.(summary)) ?? "";
      if (box.className !== now) box.className = now;
    }
    setText(line, summary === undefined ? "state unknown" : about(summary.status));
    setText(document.querySelector("title") ?? line, `${titleOf(summary?.status)} · Load balancer`);
  };
};

const titleOf = (status: typeof Status.Type | undefined): string =>
  status === undefined ? "unknown" : `${status.healthy_backends}/${status.total_backends} ${status.status}`;
