/**
 * The table of data threads, which is not there where there are none.
 */
import type { Status } from "../monitoring/Api.js";
import { byId, element, setText, within } from "./Dom.js";
import * as Format from "./Format.js";
import type { Rates } from "./ThreadRates.js";

type Thread = (typeof Status.Type)["data_threads"][number];

const columns: ReadonlyArray<{
  readonly name: string;
  readonly title: string;
  readonly text: (thread: Thread, rates: Rates | undefined) => string;
}> = [
  {
    name: "phase",
    title: "State",
    text: ({ phase, responsive, silent_seconds }) =>
      responsive ? phase : `${phase}, no answer for ${Format.duration(1000 * silent_seconds)}`,
  },
  { name: "open", title: "Connections", text: ({ connections }) => Format.count(connections) },
  { name: "processor", title: "Processor", text: (_, rates) => Format.share(rates?.processor) },
  { name: "turns", title: "Turns per second", text: (_, rates) => Format.perSecond(rates?.turns) },
  { name: "orders", title: "Orders waiting", text: ({ orders }) => Format.count(orders) },
  { name: "reports", title: "Reports waiting", text: ({ reports }) => Format.count(reports) },
];

interface Line {
  readonly tr: HTMLTableRowElement;
  /** Shows a thread as it is now; undefined where that is not known. */
  readonly show: (thread: Thread | undefined, rates: Rates | undefined) => void;
}

const line = (name: string): Line => {
  const cells = columns.map((column) => ({
    ...column,
    cell: element("td", { class: `figure ${column.name}`, "data-title": column.title }),
  }));
  const tr = element("tr", {}, element("th", { scope: "row" }, name), ...cells.map(({ cell }) => cell));
  return {
    tr,
    show: (thread, rates) => {
      for (const { cell, text } of cells)
        setText(cell, thread === undefined ? Format.unknown : text(thread, rates));
      tr.classList.toggle("bad", thread?.responsive === false);
    },
  };
};

/** Puts the table on the page; the answer shows a status in it, which holds now where it is `known`. */
export const make = (): ((
  status: typeof Status.Type,
  rates: ReadonlyMap<string, Rates>,
  known: boolean,
) => void) => {
  const section = byId("threads", HTMLElement);
  within(section, "thead tr", HTMLTableRowElement).append(
    element("th", { scope: "col", class: "thread" }, "Thread"),
    ...columns.map(({ name, title }) => element("th", { scope: "col", class: name }, title)),
  );
  const body = within(section, "tbody", HTMLTableSectionElement);
  let lines = new Map<string, Line>();

  return ({ data_threads: threads }, rates, known) => {
    section.hidden = threads.length === 0;
    const next = new Map(threads.map(({ name }) => [name, lines.get(name) ?? line(name)]));
    const same = next.size === lines.size && [...next.keys()].every((name) => lines.has(name));
    if (!same) body.replaceChildren(...[...next.values()].map(({ tr }) => tr));
    lines = next;
    for (const thread of threads)
      lines.get(thread.name)?.show(known ? thread : undefined, rates.get(thread.name));
  };
};
