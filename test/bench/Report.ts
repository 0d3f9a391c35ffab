/** The figures as Markdown, which is also legible as it is, and as JSON. */
import type { Judged, Row } from "./Judgement.js";
import { reference } from "./Judgement.js";
import type { Machine } from "./Machine.js";
import { metrics } from "./Metric.js";
import type { Options } from "./Options.js";
import type { Spread } from "./Statistics.js";

export interface Report {
  readonly machine: Machine;
  readonly options: Pick<Options, "rounds" | "seconds" | "threads">;
  /** The peers by name, and what they are called. */
  readonly titles: ReadonlyMap<string, string>;
  readonly rows: ReadonlyArray<Row>;
  readonly judged: ReadonlyArray<Judged>;
  /** What was left out, and what may be wrong with the rest. */
  readonly notes: ReadonlyArray<string>;
}

const show = ({ high, low, median }: Spread, digits: number): string =>
  `${median.toFixed(digits)} (${low.toFixed(digits)}–${high.toFixed(digits)})`;

const table = (head: ReadonlyArray<string>, body: ReadonlyArray<ReadonlyArray<string>>): string => {
  const widths = head.map((_, i) => Math.max(3, ...[head, ...body].map((row) => row[i]?.length ?? 0)));
  const line = (row: ReadonlyArray<string>) =>
    `| ${widths.map((width, i) => (i === 0 ? (row[i] ?? "").padEnd(width) : (row[i] ?? "").padStart(width))).join(" | ")} |`;
  const rule = `|${widths.map((width, i) => (i === 0 ? "-".repeat(width + 2) : `${"-".repeat(width + 1)}:`)).join("|")}|`;
  return [line(head), rule, ...body.map(line)].join("\n");
};

const threadsOf = (threads: number): string =>
  threads === 0 ? "" : `, LB_THREADS=${threads} beside nbthread ${threads}`;

const bullets = (lines: ReadonlyArray<string>): string => lines.map((line) => `- ${line}`).join("\n");

const targetLine = ({ target, value, verdict }: Judged): string => {
  const { digits, more, title, unit } = metrics[target.metric];
  const bound = target.ratio ? `${target.bound} times ${reference}'s` : `${target.bound} ${unit}`;
  const measured = value === undefined ? "" : `: ${show(value, target.ratio ? 2 : digits)}`;
  return `${target.peer}, ${title}, at ${more ? "least" : "most"} ${bound}: **${verdict}**${measured}`;
};

export const markdown = ({ judged, machine, notes, options, rows, titles }: Report): string => {
  const peers = [...titles.keys()].filter((name) =>
    rows.some(({ cells }) => cells.some(({ peer }) => peer === name)),
  );
  const head = peers.map((name) => titles.get(name) ?? name);
  const cell = ({ cells }: Row, name: string) => cells.find(({ peer }) => peer === name);
  const figures = rows.map((row) => {
    const { digits, title, unit } = metrics[row.metric];
    return [
      `${title} (${unit})`,
      ...peers.map((name) => {
        const found = cell(row, name);
        return found === undefined ? "–" : show(found.spread, digits);
      }),
    ];
  });
  const compared = peers.filter((name) => name !== reference);
  const ratios = rows
    .filter(({ cells }) => cells.some(({ ratio }) => ratio !== undefined))
    .map((row) => [
      metrics[row.metric].title,
      ...compared.map((name) => {
        const ratio = cell(row, name)?.ratio;
        return ratio === undefined ? "–" : show(ratio, 2);
      }),
    ]);
  const { versions } = machine;
  return [
    `${machine.processors} processors (${machine.model}), ${machine.memoryGiB} GiB, Linux ${machine.kernel}, ` +
      `${machine.descriptors} open files (soft / hard); ` +
      `${Object.entries(versions)
        .map(([name, version]) => `${name} ${version}`)
        .join(", ")}; ${machine.date}.`,
    `${options.rounds} rounds of ${options.seconds} s${threadsOf(options.threads)}. Median, and in brackets the range of the middle half.`,
    table(["", ...head], figures),
    ...(ratios.length === 0
      ? []
      : [
          `Ratio to ${titles.get(reference) ?? reference}, round by round:`,
          table(["", ...compared.map((name) => titles.get(name) ?? name)], ratios),
        ]),
    "Targets:",
    bullets(judged.map(targetLine)),
    ...(notes.length === 0 ? [] : ["Mind:", bullets(notes)]),
  ].join("\n\n");
};

export const json = ({ titles, ...rest }: Report): string =>
  `${JSON.stringify({ ...rest, peers: Object.fromEntries(titles) }, undefined, 2)}\n`;
