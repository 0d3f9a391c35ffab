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
  /** Whether connections were refused a short while ago. */
  readonly refusing: boolean;
}

type Mood = "good" | "warn" | "bad" | "";

interface Tile {
  readonly title: string;
  readonly text: (summary: Summary) => string;
  readonly mood?: (summary: Summary) => Mood;
}

const statusMood = { healthy: "good", degraded: "warn", unhealthy: "bad", draining: "warn" } as const;

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
  { title: "Connections", text: ({ status }) => Format.count(status.open) },
  { title: "New per second", text: ({ rates }) => Format.perSecond(rates?.opened) },
  { title: "From clients", text: ({ rates }) => Format.throughput(rates?.received) },
  { title: "To clients", text: ({ rates }) => Format.throughput(rates?.sent) },
  {
    title: "Refused",
    text: ({ status }) => Format.count(status.refused),
    mood: ({ refusing }) => (refusing ? "bad" : ""),
  },
  {
    title: "List is from",
    text: ({ status }) =>
      status.discovered === null
        ? "not yet there"
        : `${Format.age(status.discovered, Date.parse(status.now))} ago`,
    mood: ({ status }) =>
      status.discovered === null || Date.parse(status.now) - Date.parse(status.discovered) > oldListMillis
        ? "warn"
        : "",
  },
];

const about = ({ algorithm, now, started, transport, version }: typeof Status.Type): string =>
  [
    algorithm,
    ...(version === null ? [] : [`version ${version}`]),
    ...(transport === null ? [] : [`${transport} transport`]),
    `running for ${Format.age(started, Date.parse(now))}`,
  ].join(" · ");

/** Puts the tiles on the page; the answer shows a summary in them. */
export const make = (): ((summary: Summary) => void) => {
  const made = tiles.map((tile) => {
    const value = element("dd", {}, Format.unknown);
    const box = element("div", {}, element("dt", {}, tile.title), value);
    return { ...tile, value, box };
  });
  byId("summary", HTMLElement).append(...made.map(({ box }) => box));
  const line = byId("about", HTMLElement);

  return (summary) => {
    for (const { box, mood, text, value } of made) {
      setText(value, text(summary));
      const now = mood?.(summary) ?? "";
      if (box.className !== now) box.className = now;
    }
    setText(line, about(summary.status));
    const { healthy_backends, status, total_backends } = summary.status;
    setText(
      document.querySelector("title") ?? line,
      `${healthy_backends}/${total_backends} ${status} · Load balancer`,
    );
  };
};
