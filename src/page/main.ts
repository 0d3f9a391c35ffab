/**
 * The live page: listens to the balancer and shows what it says.
 */
import type { Status } from "../monitoring/Api.js";
import { keyOf } from "../monitoring/StatusDelta.js";
import * as Charts from "./Charts.js";
import * as Connection from "./Connection.js";
import { announce, byId, setBanner } from "./Dom.js";
import * as EventList from "./EventList.js";
import * as Events from "./Events.js";
import * as Samples from "./Samples.js";
import * as Shares from "./Shares.js";
import * as Steering from "./Steering.js";
import * as Summary from "./Summary.js";
import * as Table from "./Table.js";
import * as ThreadRates from "./ThreadRates.js";
import * as Threads from "./Threads.js";

const showSummary = Summary.make();
const showCharts = Charts.makeAll();
const showEvents = EventList.make();
const steering = Steering.make();
const table = Table.make(steering.steer);
const showThreads = Threads.make();
const stale = byId("stale", HTMLElement);

let status: typeof Status.Type | undefined;
/** Whether the balancer is heard: while it is not, nothing is known of now. */
let known = false;
let origin: Samples.Origin | undefined;
let samples: ReadonlyArray<Samples.Sample> = [];
let totals: ReadonlyArray<Shares.Totals> = [];
let threads: ReadonlyArray<ThreadRates.Moment> = [];
let events: ReadonlyArray<Events.Entry> = [];
/** Events that were there when the page was opened need no announcement. */
let announcing = false;
let waiting = false;

/** The page and the balancer's wall clock drift apart slowly; a larger difference is another process or a set clock. */
const sameOriginMillis = 2_000;

/** The origin of this process's samples: the one that holds, unless it cannot be the same. */
const originOf = (at: string, uptimeSeconds: number): Samples.Origin => {
  const next = Samples.origin(at, uptimeSeconds);
  if (origin === undefined || Math.abs(next - origin) > sameOriginMillis) origin = next;
  return origin;
};

const sampleOf = (from: typeof Status.Type): Samples.Sample =>
  Samples.sample(origin ?? originOf(from.now, from.uptime_seconds), from);

/** When it was so, by a clock that nobody sets. */
const millisOf = ({ uptime_seconds }: typeof Status.Type): number => uptime_seconds * 1000;

const totalsOf = (from: typeof Status.Type): Shares.Totals => ({
  at: millisOf(from),
  by: new Map(from.backends.map((backend) => [keyOf(backend), backend.total])),
});

const show = (): void => {
  waiting = false;
  if (status === undefined) return;
  showSummary(known ? { status, rates: Samples.current(samples, sampleOf(status)) } : undefined);
  showCharts(samples, known);
  table.show(status, Shares.shares(totals, totalsOf(status)), known);
  showThreads(status, ThreadRates.rates(threads), known);
  showEvents(events, announcing);
  announcing = true;
  steering.enabled(known);
};

// At most once for each picture that the browser draws, and not at all while nobody sees it.
const showSoon = (): void => {
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(show);
};

Connection.open({
  history: (history) => {
    const last = history.at(-1);
    if (last === undefined) return;
    const from = originOf(last.at, last.uptime_seconds);
    samples = Samples.merge(
      samples,
      history.map((each) => Samples.sample(from, each)),
    );
  },
  event: (event) => {
    events = Events.append(events, Events.entry(event));
    showSoon();
  },
  status: (next) => {
    // A balancer that was started anew counts from 0 again.
    if (status?.started !== next.started) {
      totals = [];
      threads = [];
    }
    totals = Shares.append(totals, totalsOf(next));
    threads = ThreadRates.append(threads, { at: millisOf(next), threads: next.data_threads });
    samples = Samples.append(samples, sampleOf(next));
    status = next;
    known = true;
    showSoon();
  },
  freshness: (silent, warning) => {
    if (silent && known) {
      known = false;
      showSoon();
    }
    if (stale.hidden !== (warning === undefined)) announce(warning ?? "The balancer is heard again.");
    setBanner(stale, warning);
    document.documentElement.classList.toggle("is-stale", warning !== undefined);
  },
});
