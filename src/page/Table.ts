/**
 * The table of backends. Rows stay on the page and are written in place: only what has changed is touched, so that
 * hundreds of them can be updated twice a second.
 */
import type { Status } from "../monitoring/Api.js";
import { reason, states } from "../monitoring/BackendState.js";
import { byId, element, setText, within } from "./Dom.js";
import * as Format from "./Format.js";
import * as Rows from "./Rows.js";

export type Verb = "drain" | "disable" | "enable";

const verbs: ReadonlyArray<{
  readonly verb: Verb;
  readonly title: string;
  readonly for: ReadonlyArray<string>;
}> = [
  { verb: "enable", title: "Enable", for: ["draining", "disabled"] },
  { verb: "drain", title: "Drain", for: ["enabled", "disabled"] },
  { verb: "disable", title: "Disable", for: ["enabled", "draining"] },
];

interface Line {
  readonly tr: HTMLTableRowElement;
  /** Shows it as it is now, or, where that is not known, as it was last. */
  readonly show: (row: Rows.Row, now: number, known: boolean) => void;
}

// Those that are not a figure of their own, and are written by hand.
const plain = Rows.columns.filter(({ name }) => name !== "backend" && name !== "state");

const line = (first: Rows.Row, steer: (verb: Verb, row: Rows.Row) => void): Line => {
  let row = first;
  const address = first.address === first.id ? [] : [element("small", {}, first.address)];
  const role = element("small");
  const badge = element("span", { class: "badge" });
  const why = element("small");
  const cells = plain.map((column) => ({
    ...column,
    cell: element("td", { class: `figure ${column.name}`, "data-title": column.title }),
  }));
  const buttons = verbs.map((each) => {
    const button = element(
      "button",
      { type: "button", "aria-label": `${each.title} ${first.id}` },
      each.title,
    );
    button.addEventListener("click", () => steer(each.verb, row));
    return { ...each, button };
  });
  const tr = element(
    "tr",
    {},
    element("th", { scope: "row" }, element("span", { class: "id" }, first.id), ...address, role),
    element("td", { class: "state" }, badge, why),
    ...cells.map(({ cell }) => cell),
    element("td", { class: "steering" }, ...buttons.map(({ button }) => button)),
  );
  return {
    tr,
    show: (next, now, known) => {
      row = next;
      const state = known ? next.state : "unknown";
      if (tr.dataset["state"] !== state) tr.dataset["state"] = state;
      setText(badge, state);
      setText(role, next.role === "backup" ? "backup" : "");
      setText(why, reason(next));
      for (const { cell, name, text } of cells) {
        setText(cell, text(next, now));
        if (name === "failures") cell.classList.toggle("bad", next.connect_failures > 0);
      }
      for (const { button, for: choices } of buttons) {
        button.disabled = !known;
        const hidden = !choices.includes(next.admin);
        if (button.hidden === hidden) continue;
        // Whoever works by keyboard stays in this row when the button that was pressed goes away.
        const focused = document.activeElement === button;
        button.hidden = hidden;
        if (focused) buttons.find((each) => each.for.includes(next.admin))?.button.focus();
      }
    },
  };
};

export interface Table {
  /** Shows a status; `known` says whether it holds now. */
  readonly show: (status: typeof Status.Type, shares: ReadonlyMap<string, number>, known: boolean) => void;
}

/** Puts the table on the page. */
export const make = (steer: (verb: Verb, row: Rows.Row) => void): Table => {
  const table = byId("table", HTMLTableElement);
  const body = within(table, "tbody", HTMLTableSectionElement);
  const text = byId("filter-text", HTMLInputElement);
  const state = byId("filter-state", HTMLSelectElement);
  const shown = byId("shown", HTMLElement);
  const none = byId("no-backends", HTMLElement);

  const lines = new Map<string, Line>();
  let standing: ReadonlyArray<string> = [];
  let order: Rows.Order = { column: "state", direction: "ascending" };
  let rows: ReadonlyArray<Rows.Row> = [];
  let now = 0;
  let known = false;

  // While somebody points at a row or is in it by keyboard, rows keep their places.
  let pointing = false;
  body.addEventListener("pointerenter", ({ pointerType }) => {
    pointing = pointerType === "mouse";
  });
  body.addEventListener("pointerleave", () => {
    pointing = false;
  });

  const place = (asked: boolean): void => {
    const filter = states.find((each) => each === state.value) ?? "all";
    const wanted = Rows.sorted(rows.filter(Rows.passes({ text: text.value, state: filter })), order);
    const hold = !asked && (pointing || body.contains(document.activeElement));
    const placed = hold ? Rows.held(standing, wanted) : wanted;
    const kept = new Set(placed.map(({ key }) => key));
    for (const key of standing) if (!kept.has(key)) lines.get(key)?.tr.remove();
    let before: ChildNode | null = body.firstChild;
    for (const row of placed) {
      const had = lines.get(row.key) ?? line(row, steer);
      lines.set(row.key, had);
      had.show(row, now, known);
      if (had.tr === before) before = before.nextSibling;
      else body.insertBefore(had.tr, before);
    }
    standing = placed.map(({ key }) => key);
    const held = hold && placed.some(({ key }, index) => key !== wanted[index]?.key);
    setText(
      shown,
      `${Format.count(placed.length)} of ${Format.count(rows.length)} shown${held ? " · order held while you are in the table" : ""}`,
    );
    none.hidden = placed.length > 0;
    setText(none, rows.length === 0 ? "Discovery lists no backend." : "No backend passes the filter.");
  };

  const headers = Rows.columns.map(({ name, title }) => {
    const header = element("th", { scope: "col", class: name });
    const button = element("button", { type: "button" }, title);
    button.addEventListener("click", () => {
      order = Rows.pressed(order, name);
      sortShown();
      place(true);
    });
    header.append(button);
    return { name, header };
  });
  const sortShown = (): void => {
    for (const { header, name } of headers) {
      header.setAttribute("aria-sort", name === order.column ? order.direction : "none");
    }
  };
  within(table, "thead tr", HTMLTableRowElement).append(
    ...headers.map(({ header }) => header),
    element("th", { scope: "col", class: "steering" }, "Steer"),
  );
  within(table, "colgroup", HTMLTableColElement).append(
    ...headers.map(({ name }) => element("col", { class: name })),
    element("col", { class: "steering" }),
  );
  sortShown();

  const choices = new Map(
    (["all", ...states] as const).map((value) => [value, element("option", { value }, value)]),
  );
  state.append(...choices.values());
  text.addEventListener("input", () => place(true));
  state.addEventListener("change", () => place(true));

  const show: Table["show"] = (status, shares, isKnown) => {
    known = isKnown;
    now = Date.parse(status.now);
    rows = status.backends.map((backend) => Rows.row(backend, shares));
    for (const [value, option] of choices) {
      const count = rows.filter((row) => value === "all" || row.state === value).length;
      setText(option, `${value} (${Format.count(count)})`);
    }
    const listed = new Set(rows.map(({ key }) => key));
    for (const [key, { tr }] of lines) {
      if (listed.has(key)) continue;
      tr.remove();
      lines.delete(key);
    }
    place(false);
  };
  return { show };
};
