/**
 * The balancer's messages, for as long as the page is open. The browser reconnects by itself where it can; a
 * connection that it gave up, or that went silent without an end, is opened anew.
 */
import type { Status } from "../monitoring/Api.js";
import type { Event, Sample } from "../monitoring/Feed.js";
import { giveUpAfter, warning } from "./Freshness.js";

export interface Listener {
  readonly history: (samples: ReadonlyArray<Sample>) => void;
  readonly event: (event: Event) => void;
  readonly status: (status: typeof Status.Type) => void;
  /** Told twice a second: why what is shown may be wrong; undefined while all is well. */
  readonly freshness: (warning: string | undefined) => void;
}

const checkMillis = 500;

export const open = (listener: Listener): void => {
  const pageOpened = Date.now();
  let heard: number | undefined;
  let tried = pageOpened;
  // The clocks of the balancer and the viewer differ by nobody knows what: the message that seems to have been on its
  // way the shortest says how much.
  let quickest = Number.POSITIVE_INFINITY;
  let late = 0;

  const connect = (): EventSource => {
    quickest = Number.POSITIVE_INFINITY;
    const source = new EventSource("events");
    const on = <A>(name: string, take: (data: A) => void) =>
      source.addEventListener(name, ({ data }: MessageEvent<string>) => {
        heard = Date.now();
        take(JSON.parse(data) as A /* the contract of /events, which this page is served with */);
      });
    on("history", listener.history);
    on("event", listener.event);
    on("status", (status: typeof Status.Type) => {
      const underWay = Date.now() - Date.parse(status.now);
      quickest = Math.min(quickest, underWay);
      late = underWay - quickest;
      listener.status(status);
    });
    return source;
  };

  let source = connect();
  setInterval(() => {
    const now = Date.now();
    const gone = source.readyState === EventSource.CLOSED || now - (heard ?? 0) >= giveUpAfter;
    if (gone && now - tried >= giveUpAfter / 4) {
      source.close();
      tried = now;
      source = connect();
    }
    listener.freshness(warning(heard, pageOpened, now, late));
  }, checkMillis);
};
