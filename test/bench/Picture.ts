/** The ratios to HAProxy as a picture that can be read on a light and on a dark page. */
import { type Row, reference } from "./Judgement.js";
import { type MetricName, metrics } from "./Metric.js";

const shown: ReadonlyArray<MetricName> = [
  "keepaliveCpu",
  "connectionCpu",
  "bulkCpu",
  "latencyP99",
  "idleMemory",
  "firstByteP50",
];

/** One for each peer, in the middle between black and white. */
const colours = ["#3b82c4", "#d0772e", "#4a9c5d", "#a565b8", "#8a8a3a", "#c4506a"];

const width = 760;
const left = 210;
const right = 110;
const bar = 14;
const gap = 18;

const escaped = (text: string): string =>
  text.replace(/[&<>"]/g, (character) => `&#${character.charCodeAt(0)};`);

export const svg = (rows: ReadonlyArray<Row>, titles: ReadonlyMap<string, string>): string => {
  const groups = shown.flatMap((metric) => {
    const cells = rows.find((row) => row.metric === metric)?.cells ?? [];
    const bars = cells.flatMap(({ peer, ratio }) => (ratio === undefined ? [] : [{ peer, ratio }]));
    return bars.length === 0 ? [] : [{ title: metrics[metric].title, bars }];
  });
  const peers = [...titles.keys()].filter((name) =>
    groups.some(({ bars }) => bars.some(({ peer }) => peer === name)),
  );
  const colour = (peer: string) => colours[peers.indexOf(peer) % colours.length] ?? "#808080";
  const most = Math.max(1, ...groups.flatMap(({ bars }) => bars.map(({ ratio }) => ratio.high)));
  const x = (value: number): number => left + (Math.max(0, value) / most) * (width - left - right);
  const parts: Array<string> = [];
  let y = 64;
  for (const { bars, title } of groups) {
    const middle = y + (bars.length * bar) / 2 + 4;
    parts.push(`<text x="${left - 10}" y="${middle}" text-anchor="end">${escaped(title)}</text>`);
    for (const { peer, ratio } of bars) {
      const centre = y + bar / 2 - 1;
      parts.push(
        `<rect x="${left}" y="${y}" width="${(x(ratio.median) - left).toFixed(1)}" height="${bar - 2}" fill="${colour(peer)}"/>`,
        `<line x1="${x(ratio.low).toFixed(1)}" x2="${x(ratio.high).toFixed(1)}" y1="${centre}" y2="${centre}" class="ink"/>`,
        `<text x="${(x(Math.max(ratio.high, ratio.median)) + 6).toFixed(1)}" y="${y + bar - 3}">${ratio.median.toFixed(2)}</text>`,
      );
      y += bar;
    }
    y += gap;
  }
  const legend = peers.map((peer, i) => {
    const at = 10 + i * ((width - 10) / peers.length);
    const name = escaped(titles.get(peer) ?? peer);
    return `<rect x="${at}" y="32" width="10" height="10" fill="${colour(peer)}"/><text x="${at + 15}" y="41">${name}</text>`;
  });
  const one = x(1).toFixed(1);
  const name = escaped(titles.get(reference) ?? reference);
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${y + 8}" role="img" aria-label="Ratios to ${name}">
<style>
text { font: 12px system-ui, sans-serif; fill: #333 }
.ink { stroke: #333 }
@media (prefers-color-scheme: dark) { text { fill: #ddd } .ink { stroke: #ddd } }
</style>
<text x="${left}" y="18">Ratio to ${name} (= 1, less is better)</text>
${[...legend, ...parts].join("\n")}
<line x1="${one}" x2="${one}" y1="54" y2="${y - gap + 6}" class="ink" stroke-dasharray="3 3"/>
</svg>
`;
};
