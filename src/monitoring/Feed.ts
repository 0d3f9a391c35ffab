/**
 * Server-sent events: what happens, and the status a few times a second, for those who watch.
 *
 * https://html.spec.whatwg.org/multipage/server-sent-events.html
 */
import { Clock, Context, Deferred, Duration, Effect, Layer, Ref, Schema, Stream } from "effect";
import { describe } from "../backend/Backend.js";
import { BackendRegistry } from "../backend/BackendRegistry.js";
import type { PoolEvent } from "../backend/PoolEvent.js";
import * as WallClock from "../clock/WallClock.js";
import { Metrics } from "../metrics/Metrics.js";
import { Sessions } from "../proxy/Sessions.js";
import { Status } from "./Api.js";
import type { Build } from "./Gauges.js";
import * as Views from "./Views.js";

/** Something that happened, as a viewer is told. */
export interface Event {
  /** Grows by one with each event of this process. */
  readonly id: number;
  /** RFC 3339, UTC. */
  readonly at: string;
  readonly kind: "added" | "removed" | "up" | "down" | "steered" | "phase";
  /** `id (address)` of the backend concerned. */
  readonly backend?: string;
  /** Why it is down, who steered it and to what, or the phase that begins. */
  readonly detail?: string;
}

/** One moment of the last minutes, for charts: totals, so that whoever draws takes differences. */
export interface Sample {
  readonly at: string;
  readonly open: number;
  readonly total: number;
  readonly received: number;
  readonly sent: number;
}

/** How often viewers are told the status. */
const every = Duration.millis(500);
/** How often a sample is taken, and how many are kept: five minutes. */
const sampling = Duration.seconds(2);
const samplesKept = 150;
/** How many events are kept for those who come later. */
const eventsKept = 100;
/** How many messages of the status a viewer may be behind: what was so is of no use to anybody. */
const behind = 1;

const happened = (item: PoolEvent): Pick<Event, "kind" | "backend" | "detail"> => {
  switch (item._tag) {
    case "Added":
      return { kind: "added", backend: describe(item.backend) };
    case "Removed":
      return { kind: "removed", backend: describe(item.backend) };
    case "Up":
      return { kind: "up", backend: describe(item.backend) };
    case "Down":
      return { kind: "down", backend: describe(item.backend), detail: item.why };
    case "Steered":
      return {
        kind: "steered",
        backend: describe(item.backend),
        detail: `${item.backend.admin} by ${item.by}`,
      };
    case "Phase":
      return { kind: "phase", detail: item.phase };
  }
};

const instant = (millis: number): string => new Date(millis).toISOString();

// JSON has no line breaks of its own, so it fits on one data line.
const message = (name: string, data: unknown): string => `event: ${name}\ndata: ${JSON.stringify(data)}\n\n`;

const encodeStatus = Schema.encodeSync(Status);

export class Feed extends Context.Tag("zeitwork-load-balancer/Feed")<
  Feed,
  {
    /** Everything a person on call may want to know, now. */
    readonly status: Effect.Effect<typeof Status.Type>;
    /**
     * The text of the stream for one viewer: the samples and events of the last minutes, then what happens and
     * the status at every half second. One that does not keep up misses the oldest; the next status makes up
     * for it. It ends with {@link end}.
     */
    readonly messages: Stream.Stream<string>;
    /** Ends every viewer's stream: the server is about to stop. */
    readonly end: Effect.Effect<void>;
  }
>() {}

const make = (build: Build | undefined) =>
  Effect.gen(function* () {
    const { events, pool } = yield* BackendRegistry;
    const metrics = yield* Metrics;
    const sessions = yield* Sessions;
    const converter = yield* WallClock.make;
    const over = yield* Deferred.make<void>();
    const lastId = yield* Ref.make(0);
    const samples = yield* Ref.make<ReadonlyArray<Sample>>([]);

    const status = Effect.gen(function* () {
      const now = yield* Clock.currentTimeMillis;
      return Views.status(yield* pool, metrics, yield* sessions.snapshot, {
        build,
        now,
        toEpoch: converter(),
      });
    });

    const sample = Effect.gen(function* () {
      const at = instant(yield* Clock.currentTimeMillis);
      const { bytesEnded, total } = metrics;
      const { bytes, open } = yield* sessions.snapshot;
      const received = bytesEnded.received + bytes.received;
      const sent = bytesEnded.sent + bytes.sent;
      yield* Ref.update(samples, (all) => [...all, { at, open, total, received, sent }].slice(-samplesKept));
    });
    yield* Effect.forkScoped(Effect.forever(Effect.zipRight(sample, Effect.sleep(sampling))));

    const numbered = (event: Pick<Event, "kind" | "backend" | "detail">) =>
      Effect.zipWith(
        Ref.updateAndGet(lastId, (id) => id + 1),
        Clock.currentTimeMillis,
        (id, now): Event => ({ id, at: instant(now), ...event }),
      );
    const draining = sessions.phases.pipe(
      Stream.filter((phase) => phase === "draining"),
      Stream.map((phase) => ({ kind: "phase", detail: phase }) as const),
    );
    // Gathered whether or not anybody watches, so that whoever comes later is told what was before.
    const happening = yield* Stream.share(
      Stream.merge(Stream.map(yield* events, happened), draining).pipe(
        Stream.mapEffect(numbered),
        Stream.map((event) => message("event", event)),
      ),
      { capacity: eventsKept, strategy: "sliding", replay: eventsKept },
    );
    yield* Effect.forkScoped(Stream.runDrain(happening));

    // Rendered once for all who watch, and not at all while nobody does.
    const rendered = Effect.map(status, (now) => message("status", encodeStatus(now)));
    const watched = yield* Stream.share(
      Stream.concat(
        Stream.fromEffect(rendered),
        Stream.repeatEffect(Effect.zipRight(Effect.sleep(every), rendered)),
      ),
      { capacity: behind, strategy: "sliding", replay: 1 },
    );

    return Feed.of({
      status,
      messages: Stream.concat(
        Stream.fromEffect(Effect.map(Ref.get(samples), (all) => message("history", all))),
        // Each is a subscription with a buffer of its own: it goes on sliding while a viewer does not read.
        Stream.merge(happening, watched),
      ).pipe(Stream.interruptWhenDeferred(over)),
      end: Effect.asVoid(Deferred.succeed(over, undefined)),
    });
  });

/** The feed of one registry; `build` says what runs. */
export const layer = (
  build: Build | undefined,
): Layer.Layer<Feed, never, BackendRegistry | Metrics | Sessions> => Layer.scoped(Feed, make(build));
