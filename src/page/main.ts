/**
 * The live page: listens to the balancer and shows what it says.
 */
import type { Status } from "../monitoring/Api.js";
import * as Charts from "./Charts.js";
import * as Connection from "./Connection.js";
import { announce, byId, setBanner } from "./Dom.js";
import * as Events from "./Events.js";
import * as Happenings from "./Happenings.js";
import * as Rows from "./Rows.js";
import * as Samples from "./Samples.js";
import * as Shares from "./Shares.js";
import * as Steering from "./Steering.js";
import * as Summary from "./Summary.js";
import * as Table from "./Table.js";

/** For how long a refusal marks the status line. */
const refusingMillis = 60_000;

const showSummary = Summary.make();
const showCharts = Charts.makeAll();
const showEvents = Events.make();
const showTable = Table.make(Steering.make());
const stale = byId("stale", HTMLElement);

let status: typeof Status.Type | undefined;
let samples: ReadonlyArray<Samples.Sample> = [];
let totals: ReadonlyArray<Shares.Totals> = [];
let happenings: ReadonlyArray<Happenings.Happening> = [];
/** Since when the page is watching, by the balancer's clock: what was before needs no announcement. */
let since: number | undefined;
let waiting = false;

const show = (): void => {
  waiting = false;
  if (status === undefined) return;
  const now = Date.parse(status.now);
  const by = new Map(status.backends.map((backend) => [Rows.keyOf(backend), backend.total]));
  showSummary({
    status,
    rates: Samples.current(samples, Samples.sample({ ...status, at: status.now })),
    refusing: happenings.some(({ at, kind }) => kind === "refused" && now - at < refusingMillis),
  });
  showCharts(samples);
  showTable(status, Shares.shares(totals, { at: now, by }));
  showEvents(happenings, since ?? now);
};

// At most once for each picture that the browser draws, and not at all while nobody sees it.
const showSoon = (): void => {
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(show);
};

Connection.open({
  history: (history) => {
    samples = Samples.merge(samples, history.map(Samples.sample));
  },
  event: (event) => {
    happenings = Happenings.append(happenings, Happenings.happening(event));
    showSoon();
  },
  status: (next) => {
    const now = Date.parse(next.now);
    since ??= now;
    const same = status?.started === next.started ? status : undefined;
    // A balancer begun anew counts from 0 again.
    if (same === undefined) totals = [];
    if (status !== undefined) {
      happenings = Happenings.refused(happenings, next.refused - (same?.refused ?? 0), now);
    }
    const by = new Map(next.backends.map((backend) => [Rows.keyOf(backend), backend.total]));
    totals = Shares.append(totals, { at: now, by });
    samples = Samples.append(samples, Samples.sample({ ...next, at: next.now }));
    status = next;
    showSoon();
  },
  freshness: (warning) => {
    if (stale.hidden !== (warning === undefined)) announce(warning ?? "The balancer is heard again.");
    setBanner(stale, warning);
    document.documentElement.classList.toggle("is-stale", warning !== undefined);
  },
});
