/**
 * The balancer's messages, for as long as the page is open. The browser reconnects by itself where it can; a
 * connection that it gave up, or that went silent without an end, is opened anew.
 */
import type { Change, Event, Sample, Status } from "../monitoring/Api.js";
import { applied } from "../monitoring/StatusDelta.js";
import { giveUpAfter, isSilent, warning } from "./Freshness.js";

export interface Listener {
  readonly history: (samples: ReadonlyArray<typeof Sample.Type>) => void;
  readonly event: (event: typeof Event.Type) => void;
  /** What holds now, about twice a second. */
  readonly status: (status: typeof Status.Type) => void;
  /**
   * Called twice a second: whether nothing is known of now, and why what is shown may be wrong; undefined while it is
   * right.
   */
  readonly freshness: (silent: boolean, warning: string | undefined) => void;
}

const checkMillis = 500;

export const open = (listener: Listener): void => {
  const pageOpened = Date.now();
  let heard: number | undefined;
  let tried = pageOpened;
  // The clocks of the balancer and the viewer differ by an unknown amount: the message that seems to have been on its
  // way the shortest says how much.
  let quickest = Number.POSITIVE_INFINITY;
  let late = 0;

  const connect = (): EventSource => {
    quickest = Number.POSITIVE_INFINITY;
    let status: typeof Status.Type | undefined;
    const source = new EventSource("events");
    const on = <A>(name: string, take: (data: A) => void) =>
      source.addEventListener(name, ({ data }: MessageEvent<string>) => {
        heard = Date.now();
        take(JSON.parse(data) as A /* the contract of /events, which this page is served with */);
      });
    const show = (next: typeof Status.Type): void => {
      const underWay = Date.now() - Date.parse(next.now);
      quickest = Math.min(quickest, underWay);
      late = underWay - quickest;
      status = next;
      listener.status(next);
    };
    on("history", listener.history);
    on("event", listener.event);
    on("status", show);
    on("change", ({ backends = [], removed = [], ...totals }: typeof Change.Encoded) => {
      // StatusDelta are of the status that came before them, on the same connection.
      if (status !== undefined) show(applied(status, { backends, removed, ...totals }));
    });
    source.addEventListener("open", () => {
      status = undefined;
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
    listener.freshness(isSilent(heard, pageOpened, now), warning(heard, pageOpened, now, late));
  }, checkMillis);
};
