/**
 * What a running balancer says of itself, for people. Pure.
 */
import { printable } from "../log/ForeignText.js";
import { quantity } from "../log/Quantity.js";
import type { BackendStatus, Connection, Connections, Status } from "../monitoring/Api.js";
import { reason, type State, stateOf } from "../monitoring/BackendState.js";
import { type Cell, type Colour, cell, figure, painted, render } from "./Table.js";

type Backend = typeof BackendStatus.Type;

const colourOf = {
  healthy: "green",
  degraded: "yellow",
  unhealthy: "red",
  stopping: "yellow",
  draining: "yellow",
} as const;

const colourOfState: Readonly<Record<State, Colour>> = {
  up: "green",
  down: "red",
  unchecked: "faint",
  draining: "yellow",
  disabled: "yellow",
};

const stateCell = (backend: Backend): Cell => {
  const state = stateOf(backend);
  return cell(state, colourOfState[state]);
};

/** `3 s`, `5 min`, `2 h`, `4 d` before `now`; a dash for never. */
export const ago = (instant: string | null, now: string): string => {
  if (instant === null) return "-";
  return span(Math.max(0, (Date.parse(now) - Date.parse(instant)) / 1000));
};

/** `3 s`, `5 min`, `2 h`, `4 d`: so much of a time, in seconds, as is past. */
const span = (time: number): string => {
  const seconds = Math.floor(time);
  if (seconds < 120) return `${seconds} s`;
  if (seconds < 7_200) return `${Math.floor(seconds / 60)} min`;
  return seconds < 172_800 ? `${Math.floor(seconds / 3_600)} h` : `${Math.floor(seconds / 86_400)} d`;
};

const titles = [
  "ID",
  "ADDRESS",
  "STATE",
  "SINCE",
  "ROLE",
  "WEIGHT",
  "MAX",
  "OPEN",
  "TOTAL",
  "FAILED",
  "CONNECT MS",
  "WHY",
];

const row = (backend: Backend, now: string): ReadonlyArray<Cell> => [
  cell(backend.id),
  cell(backend.address),
  stateCell(backend),
  { text: ago(backend.since, now), align: "right" },
  cell(backend.role),
  figure(backend.weight),
  figure(backend.max_connections),
  figure(backend.open),
  figure(backend.total),
  figure(backend.connect_failures, backend.connect_failures > 0 ? "yellow" : undefined),
  figure(backend.connect_ms),
  cell(reason(backend)),
];

/** A table of backends, as they are at `now` (RFC 3339). */
export const backends = (list: ReadonlyArray<Backend>, now: string, colours: boolean): string =>
  render(
    titles,
    list.map((backend) => row(backend, now)),
    colours,
  );

const connectionTitles = [
  "ID",
  "CLIENT",
  "BACKEND",
  "PHASE",
  "AGE",
  "RECEIVED",
  "SENT",
  "RECEIVED/S",
  "SENT/S",
  "IDLE",
];

/** Open connections, and how many there are in all. */
export const connections = ({ connections, open }: typeof Connections.Type, colours: boolean): string =>
  [
    `${connections.length} of ${quantity(open, "open connection")}`,
    ...(connections.length === 0
      ? []
      : [
          "",
          render(
            connectionTitles,
            connections.map((connection) => [
              cell(String(connection.id)),
              cell(connection.client),
              cell(connection.backend === null ? "-" : nameOf(connection.backend)),
              cell(connection.phase),
              { text: span(connection.age_seconds), align: "right" },
              figure(connection.received),
              figure(connection.sent),
              figure(connection.received_per_second),
              figure(connection.sent_per_second),
              {
                text: connection.idle_seconds === null ? "-" : span(connection.idle_seconds),
                align: "right",
              },
            ]),
            colours,
          ),
        ]),
  ].join("\n");

/** `id (address)`; one of a fixed list is called by its address. */
const nameOf = ({ address, id }: { readonly address: string; readonly id: string }): string =>
  id === address ? id : `${id} (${address})`;

/** That a connection was cut. */
export const wasCut = ({
  age_seconds,
  backend,
  client,
  id,
  received,
  sent,
}: typeof Connection.Type): string =>
  printable(
    `connection ${id} of ${client} ${backend === null ? "without a backend" : `to ${nameOf(backend)}`} was reset: ${span(age_seconds)} old, ${received} bytes received, ${sent} sent`,
    500,
  );

const threadTitles = ["THREAD", "STATE", "OPEN", "CPU S", "TURNS", "ORDERS", "REPORTS"];

const threads = (list: (typeof Status.Type)["data_threads"], colours: boolean): string =>
  render(
    threadTitles,
    list.map(({ connections, cpu_seconds, name, orders, phase, reports, responsive, turns }) => [
      cell(name),
      responsive ? cell(phase) : cell(`${phase}, no answer`, "red"),
      figure(connections),
      figure(cpu_seconds),
      figure(turns),
      figure(orders),
      figure(reports),
    ]),
    colours,
  );

/** What somebody on call has to know of the state file. */
const stateFile = ({ now, state_file: state }: typeof Status.Type): ReadonlyArray<string> => {
  if (state === null) return [];
  const file = printable(state.file, 200);
  return [
    ...(state.serving
      ? [`the list is that of ${file}, ${ago(state.loaded, now)} old: discovery has not succeeded yet`]
      : []),
    ...(state.error === null ? [] : [`${file} is not written: ${printable(state.error, 200)}`]),
  ];
};

/** The balancer in two lines, what is the matter with its state file, a table of its backends, and one of its data threads. */
export const status = (status: typeof Status.Type, colours: boolean): string => {
  const paint = (text: string, colour: Colour) => painted(text, colour, colours);
  const about = [status.algorithm, status.version, status.transport].flatMap((part) =>
    part === null ? [] : [printable(part)],
  );
  const list = status.discovered === null ? "not yet there" : `${ago(status.discovered, status.now)} old`;
  return [
    `${paint(status.status, colourOf[status.status])}: ${status.healthy_backends} of ${quantity(status.total_backends, "backend")} healthy; ${about.join(", ")}; up ${ago(status.started, status.now)}`,
    `${quantity(status.open, "connection")} open${status.queued === 0 ? "" : ` (${status.queued} waiting for a place)`}, ${status.total} in all, ${status.refused} refused; the list of backends is ${list}`,
    ...stateFile(status),
    ...(status.backends.length === 0 ? [] : ["", backends(status.backends, status.now, colours)]),
    ...(status.data_threads.length === 0 ? [] : ["", threads(status.data_threads, colours)]),
  ].join("\n");
};
