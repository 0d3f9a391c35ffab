/**
 * Small charts of the last minutes.
 */
import "uplot/dist/uPlot.min.css";
import uPlot from "uplot";
import { byId, element, setText } from "./Dom.js";
import * as Format from "./Format.js";
import * as Samples from "./Samples.js";

type Values = ReadonlyArray<number | null>;

interface Line {
  readonly title: string;
  /** The custom property of style.css that has its colour. */
  readonly colour: string;
  readonly of: (columns: Samples.Columns) => Values;
}

interface Chart {
  readonly title: string;
  readonly lines: readonly [Line, ...Array<Line>];
  readonly text: (value: number) => string;
  /** What the scale reaches at least: small figures must not look like mountains. */
  readonly least: number;
}

const charts: ReadonlyArray<Chart> = [
  {
    title: "Connections open",
    lines: [{ title: "open", colour: "--line-1", of: ({ open }) => open }],
    text: Format.count,
    least: 4,
  },
  {
    title: "New per second",
    lines: [{ title: "new", colour: "--line-1", of: ({ served }) => served }],
    text: Format.perSecond,
    least: 4,
  },
  {
    title: "Throughput",
    lines: [
      { title: "from clients", colour: "--line-1", of: ({ received }) => received },
      { title: "to clients", colour: "--line-2", of: ({ sent }) => sent },
    ],
    text: Format.throughput,
    least: 1000,
  },
  {
    title: "Refused per second",
    lines: [
      { title: "no healthy backend", colour: "--line-3", of: (columns) => columns["no-backend"] },
      { title: "all backends full", colour: "--line-4", of: (columns) => columns["backends-full"] },
      { title: "none could be connected to", colour: "--line-2", of: (columns) => columns["connect-failed"] },
      { title: "no place left", colour: "--line-1", of: (columns) => columns["at-capacity"] },
    ],
    text: Format.perSecond,
    least: 4,
  },
  {
    title: "Clients turned away per second",
    lines: [
      { title: "denied", colour: "--line-3", of: ({ denied }) => denied },
      { title: "too many at a time", colour: "--line-2", of: (columns) => columns["client-limit"] },
      { title: "too often", colour: "--line-1", of: (columns) => columns["client-rate"] },
      { title: "no PROXY header", colour: "--line-4", of: (columns) => columns["proxy-header"] },
    ],
    text: Format.perSecond,
    least: 4,
  },
];

const height = 130;
const font = "11px system-ui, sans-serif";

const property = (name: string) => (): string =>
  getComputedStyle(document.documentElement).getPropertyValue(name).trim();

const make = ({ least, lines, text, title }: Chart) => {
  const readings = lines.map((line) => ({
    ...line,
    value: element("span", {}, Format.unknown),
  }));
  const plot = element("div", { class: "plot", role: "img" });
  const when = element("span", { class: "when" });
  const legend = readings.map(({ colour, title: name, value }) =>
    element(
      "span",
      {},
      ...(lines.length > 1
        ? [element("i", { class: colour.slice(2), "aria-hidden": "true" }), `${name} `]
        : []),
      value,
    ),
  );
  const figure = element(
    "figure",
    {},
    element("figcaption", {}, element("strong", {}, title), ...legend, when),
    plot,
  );
  byId("charts", HTMLElement).append(figure);

  let columns = Samples.columns([]);
  let known = false;
  // Under the pointer, what was then; else what is now.
  const read = (index: number | null | undefined) => {
    // Now is not known while the balancer is not heard.
    const chosen = index ?? (known ? columns.at.length - 1 : -1);
    const at = columns.at[chosen];
    for (const { of, value } of readings) {
      const found = of(columns)[chosen];
      setText(value, found === null || found === undefined ? Format.unknown : text(found));
    }
    setText(when, index == null || at === undefined ? "" : `at ${Format.clock(at * 1000)}`);
    const spoken = readings.map(({ title: name, value }) => `${name} ${value.textContent}`).join(", ");
    plot.setAttribute("aria-label", `${title}, the last five minutes. Now: ${spoken}`);
  };

  const axis: uPlot.Axis = {
    stroke: property("--soft"),
    grid: { stroke: property("--grid"), width: 1 },
    ticks: { show: false },
    font,
  };
  const chart = new uPlot(
    {
      width: 300,
      height,
      // The last time stands at the right edge, and half of it beyond.
      padding: [8, 18, 0, 0],
      legend: { show: false },
      cursor: { y: false, drag: { x: false, y: false }, points: { size: 6 } },
      scales: {
        x: {
          range: (_self, _least, most) => [(most ?? 0) - Samples.kept / 1000, most ?? 0],
        },
        y: { range: (_self, _least, most) => [0, Math.max(least, (most ?? 0) * 1.1)] },
      },
      axes: [
        {
          ...axis,
          size: 24,
          incrs: [60, 120, 300],
          space: 44,
          values: (_self, splits) => splits.map((at) => Format.clock(at * 1000).slice(0, 5)),
        },
        { ...axis, size: 66, space: 32, values: (_self, splits) => splits.map(text) },
      ],
      series: [
        {},
        ...lines.map(
          ({ colour }): uPlot.Series => ({ stroke: property(colour), width: 1.5, points: { show: false } }),
        ),
      ],
      hooks: { setCursor: [({ cursor }) => read(cursor.idx)] },
    },
    [[], ...lines.map(() => [])],
    plot,
  );
  new ResizeObserver(() => {
    if (plot.clientWidth > 0) chart.setSize({ width: plot.clientWidth, height });
  }).observe(plot);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => chart.redraw(false, true));

  return (next: Samples.Columns, heard: boolean): void => {
    columns = next;
    known = heard;
    chart.setData([[...next.at], ...lines.map(({ of }) => [...of(next)])]);
    read(chart.cursor.idx);
  };
};

/** Puts the charts on the page; the answer draws samples in them, and says whether the last of them is of now. */
export const makeAll = (): ((samples: ReadonlyArray<Samples.Sample>, known: boolean) => void) => {
  const draw = charts.map(make);
  let drawn: ReadonlyArray<Samples.Sample> | undefined;
  let wasKnown = false;
  return (samples, known) => {
    if (samples === drawn && known === wasKnown) return;
    drawn = samples;
    wasKnown = known;
    const columns = Samples.columns(samples);
    for (const each of draw) each(columns, known);
  };
};
