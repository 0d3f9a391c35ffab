/**
 * Metrics as text: the Prometheus format 0.0.4 and OpenMetrics 1.0.
 *
 * https://prometheus.io/docs/instrumenting/exposition_formats/
 * https://prometheus.io/docs/specs/om/open_metrics_spec/
 */
import { type Family, families } from "./Catalog.js";
import type { Series } from "./Series.js";

const escaped = (text: string): string =>
  text.replace(/[\\"\n]/g, (character) => (character === "\n" ? "\\n" : `\\${character}`));

const number = (value: number): string =>
  value === Number.POSITIVE_INFINITY ? "+Inf" : value === Number.NEGATIVE_INFINITY ? "-Inf" : String(value);

/** `pairs` are the labels as they are written, each with a comma behind it. */
const line = (name: string, pairs: string, value: number): string =>
  `${name}${pairs === "" ? "" : `{${pairs.slice(0, -1)}}`} ${number(value)}\n`;

// The labels are written once for all lines of a series: hundreds of backends have tens of thousands of lines, and
// while they are written no connection is served.
const linesOf = ({ name, type }: Family, { labels, value }: Series): string => {
  let pairs = "";
  for (const label in labels) pairs += `${label}="${escaped(labels[label] ?? "")}",`;
  if (typeof value === "number") return line(type === "counter" ? `${name}_total` : name, pairs, value);
  let text = "";
  for (const [bound, count] of value.buckets) {
    text += line(`${name}_bucket`, `${pairs}le="${number(bound)}",`, count);
  }
  return text + line(`${name}_sum`, pairs, value.sum) + line(`${name}_count`, pairs, value.count);
};

/** A format that `/metrics` can answer in. */
export type Format = "prometheus" | "openmetrics";

export const contentTypes: Readonly<Record<Format, string>> = {
  prometheus: "text/plain; version=0.0.4; charset=utf-8",
  openmetrics: "application/openmetrics-text; version=1.0.0; charset=utf-8",
};

/** OpenMetrics for clients that accept it (Prometheus prefers it), and the older format for all others. */
export const formatFor = (accept: string | undefined): Format =>
  /application\/openmetrics-text(?![^,]*;\s*q=0(?:\.0*)?\s*(?:,|;|$))/i.test(accept ?? "")
    ? "openmetrics"
    : "prometheus";

/** How many lines are written in one step, but for those of one series. */
export const linesPerStep = 50;

/** A family's text is encoded when it has this many characters, so that a piece is neither tiny nor slow to send. */
const charactersInAPiece = 16 * 1024;

/** How many lines a series has. */
const linesIn = ({ value }: Series): number => (typeof value === "number" ? 1 : value.buckets.length + 2);

/** The text of one family, piece by piece. */
class Section {
  readonly pieces: Array<Uint8Array> = [];
  #text: string;

  constructor(
    readonly family: Family,
    format: Format,
  ) {
    const { help, name, type } = family;
    const shown = type === "counter" && format === "prometheus" ? `${name}_total` : name;
    this.#text = `# HELP ${shown} ${help.replace(/[\\\n]/g, " ")}\n# TYPE ${shown} ${type}\n`;
  }

  add(one: Series): void {
    this.#text += linesOf(this.family, one);
    if (this.#text.length >= charactersInAPiece) this.encode();
  }

  /** Encodes what has not been yet. */
  encode(): void {
    if (this.#text !== "") this.pieces.push(encoder.encode(this.#text));
    this.#text = "";
  }
}

const encoder = new TextEncoder();

/**
 * The text in UTF-8, in pieces: families in the order of the catalogue, those without a series left out. It yields
 * after each {@link linesPerStep} lines, and takes the series as it goes: they may be computed one after the other.
 */
export function* render(all: Iterable<Series>, format: Format): Generator<void, ReadonlyArray<Uint8Array>> {
  const byName = new Map(families.map((family) => [family.name, family]));
  const sections = new Map<Family, Section>();
  let written = 0;
  for (const one of all) {
    const family = byName.get(one.name);
    if (family === undefined) continue;
    let section = sections.get(family);
    if (section === undefined) {
      section = new Section(family, format);
      sections.set(family, section);
    }
    section.add(one);
    written += linesIn(one);
    if (written >= linesPerStep) {
      written = 0;
      yield;
    }
  }
  for (const section of sections.values()) section.encode();
  return [
    ...families.flatMap((family) => sections.get(family)?.pieces ?? []),
    ...(format === "openmetrics" ? [encoder.encode("# EOF\n")] : []),
  ];
}
