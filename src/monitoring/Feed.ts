/**
 * Server-sent events: the pool's events, and the status as it changes.
 *
 * A viewer has no buffer of its own. When it takes the next message, it gets the change since its last one, or, where
 * it is further behind, the whole status of now; all viewers share the bytes.
 *
 * https://html.spec.whatwg.org/multipage/server-sent-events.html
 */
import { Chunk, Clock, Context, Deferred, Duration, Effect, FiberId, Layer, Stream } from "effect";
import { type Backend, describe, slowStartSteps } from "../backend/Backend.js";
import { BackendRegistry } from "../backend/BackendRegistry.js";
import type { PoolEvent } from "../backend/PoolEvent.js";
import * as MonotonicClock from "../clock/MonotonicClock.js";
import * as TimeSlices from "../clock/TimeSlices.js";
import * as WallClock from "../clock/WallClock.js";
import * as Json from "../json/Json.js";
import { quantity } from "../log/Quantity.js";
import { Metrics } from "../metrics/Metrics.js";
import { Sessions } from "../proxy/Sessions.js";
import type { BackendStatus, Change, Event, Sample, Status } from "./Api.js";
import * as RefusedClients from "./RefusedClients.js";
import * as Rendering from "./Rendering.js";
import * as StatusDelta from "./StatusDelta.js";
import * as Views from "./Views.js";

/** How often viewers get what has changed, and totals are looked at. */
const interval = Duration.millis(500);
/** A sample is taken every so many intervals, and this many are kept: five minutes. */
const intervalsPerSample = 4;
const samplesKept = 150;
/** How many events are kept for clients that connect later. */
const eventsKept = 100;

type EventFields = Omit<typeof Event.Type, "id" | "at">;

const ofPool = (event: PoolEvent): EventFields => {
  switch (event._tag) {
    case "Added":
      return { kind: "added", backend: describe(event.backend) };
    case "Removed":
      return { kind: "removed", backend: describe(event.backend) };
    case "Altered": {
      const { limit, listedWeight, role } = event.backend;
      const most = limit === Infinity ? "" : `, at most ${quantity(limit, "connection")}`;
      return {
        kind: "altered",
        backend: describe(event.backend),
        detail: `${role}, weight ${listedWeight}${most}`,
      };
    }
    case "Up":
      return { kind: "up", backend: describe(event.backend) };
    case "SlowStart": {
      const { slowStart } = event.backend;
      const detail =
        slowStart === undefined
          ? "all of its weight"
          : `${(100 * slowStart) / slowStartSteps} % of its weight`;
      return { kind: "slow-start", backend: describe(event.backend), detail };
    }
    case "Down":
      return { kind: "down", backend: describe(event.backend), detail: event.why };
    case "Steered":
      return {
        kind: "steered",
        backend: describe(event.backend),
        detail: `${event.backend.admin} by ${event.by}`,
      };
    case "Weighed": {
      const { chosenWeight, listedWeight } = event.backend;
      return {
        kind: "steered",
        backend: describe(event.backend),
        detail: `${chosenWeight === undefined ? `weight ${listedWeight} again` : `weight ${chosenWeight.weight}`} by ${event.by}`,
      };
    }
    case "Phase":
      return { kind: "phase", detail: event.phase };
  }
};

const encoder = new TextEncoder();

// JSON has no line breaks of its own, so it fits on one data line.
const before = (name: string): string => `event: ${name}\ndata: `;
const after = "\n\n";
const message = (name: string, data: unknown): Uint8Array =>
  encoder.encode(`${before(name)}${JSON.stringify(data)}${after}`);

type Totals = Omit<typeof Status.Type, "backends">;
type Backends = ReadonlyMap<string, typeof BackendStatus.Type>;

/** The status that viewers have, or are about to get. */
interface Version {
  /** Grows by one with each. */
  readonly number: number;
  readonly backends: Backends;
  readonly totals: Totals;
  /** The message that makes the version before this one this one; undefined of the first. */
  readonly change: Uint8Array | undefined;
  /** The message with the whole status. Rendered once, when the first viewer needs it. */
  readonly status: Effect.Effect<ReadonlyArray<Uint8Array>>;
}

/** Compares the backends of now with those before; it yields between steps. */
function* compared(
  old: Backends,
  statuses: Iterable<typeof BackendStatus.Type>,
): Generator<
  void,
  { readonly backends: Backends } & Pick<typeof Change.Encoded, "removed"> & {
      readonly changed: ReadonlyArray<string>;
    }
> {
  const backends = new Map<string, typeof BackendStatus.Type>();
  const changed: Array<string> = [];
  for (const status of statuses) {
    const key = StatusDelta.keyOf(status);
    const change = StatusDelta.ofBackend(old.get(key), status);
    if (change !== undefined) changed.push(JSON.stringify(change));
    backends.set(key, status);
    if (backends.size % Json.itemsPerStep === 0) yield;
  }
  const removed: Array<{ readonly id: string; readonly address: string }> = [];
  for (const [key, { address, id }] of old) if (!backends.has(key)) removed.push({ id, address });
  return { backends, changed, removed };
}

export class Feed extends Context.Tag("zeitwork-load-balancer/Feed")<
  Feed,
  {
    /** The JSON of everything a person on call may want to know, now. */
    readonly status: Effect.Effect<Rendering.Rendering>;
    /**
     * The stream of one viewer: `history`, the last events and `status`, then each `event` and, twice a second,
     * `change`; `status` again where it has missed a change. It ends with {@link end}.
     */
    readonly messages: Stream.Stream<Uint8Array>;
    /**
     * A person has cut a connection of this backend, if it had one. The event does not name its client: whoever watches
     * needs no token.
     */
    readonly cut: (id: number, backend: Backend | undefined, by: string) => Effect.Effect<void>;
    /** Ends every viewer's stream: the server is about to stop. The end of the scope does the same. */
    readonly end: Effect.Effect<void>;
  }
>() {}

const make = (program: Views.AboutProgram) =>
  Effect.gen(function* () {
    const registry = yield* BackendRegistry;
    const metrics = yield* Metrics;
    const sessions = yield* Sessions;
    const converter = yield* WallClock.make;
    const over = yield* Deferred.make<void>();

    const samples: Array<typeof Sample.Type> = [];
    /** The last events, the oldest first. */
    const events: Array<{ readonly id: number; readonly bytes: Uint8Array }> = [];
    let lastId = 0;
    let refusals = RefusedClients.none;
    let viewers = 0;
    let version: Version | undefined;
    let versions = 0;
    /** Done, and replaced, when there is something for viewers. */
    let pulse = Deferred.unsafeMake<void>(FiberId.none);

    const notify = Effect.suspend(() => {
      const done = pulse;
      pulse = Deferred.unsafeMake<void>(FiberId.none);
      return Deferred.succeed(done, undefined);
    });

    const record = (fields: EventFields) =>
      Effect.flatMap(Clock.currentTimeMillis, (now) => {
        lastId += 1;
        const event: typeof Event.Type = { id: lastId, at: new Date(now).toISOString(), ...fields };
        events.push({ id: lastId, bytes: message("event", event) });
        if (events.length > eventsKept) events.shift();
        return notify;
      });

    const sources = Effect.map(
      Effect.all([registry.pool, sessions.snapshot, registry.queued]),
      ([pool, snapshot, queued]): Views.Sources => ({ pool, metrics, sessions: snapshot, queued }),
    );

    const totalsOf = (from: Views.Sources, toEpoch: WallClock.ToEpoch) =>
      Effect.map(Clock.currentTimeMillis, (now) =>
        Views.totals(from, { program, now, toEpoch, lastRefused: refusals.last }),
      );

    const status = yield* Rendering.shared(
      Effect.gen(function* () {
        const from = yield* sources;
        const toEpoch = converter();
        const totals = yield* totalsOf(from, toEpoch);
        const statuses = Views.backendStatuses(from, toEpoch);
        return yield* Rendering.make(
          yield* TimeSlices.run(Json.objectWithList(totals, "backends", statuses)),
        );
      }),
    );

    /** Makes the next version. */
    const refresh = yield* Rendering.shared(
      Effect.gen(function* () {
        const from = yield* sources;
        const toEpoch = converter();
        const totals = yield* totalsOf(from, toEpoch);
        const old = version;
        const {
          backends,
          changed,
          removed = [],
        } = yield* TimeSlices.run(compared(old?.backends ?? new Map(), Views.backendStatuses(from, toEpoch)));
        versions += 1;
        const next: Version = {
          number: versions,
          backends,
          totals,
          change:
            old === undefined
              ? undefined
              : changeMessage(StatusDelta.ofTotals(old.totals, totals), changed, removed),
          status: yield* Effect.cached(
            // Others may wait for it as well.
            Effect.uninterruptible(
              TimeSlices.run(
                Json.objectWithList(totals, "backends", backends.values(), before("status"), after),
              ),
            ),
          ),
        };
        version = viewers > 0 ? next : undefined;
        yield* notify;
        return next;
      }),
    );

    const sample = Effect.gen(function* () {
      const at = new Date(yield* Clock.currentTimeMillis).toISOString();
      const { bytes, open } = yield* sessions.snapshot;
      const { bytesEnded, refusalsByReason, total } = metrics;
      samples.push({
        at,
        uptime_seconds: Views.uptimeSeconds(),
        open,
        total,
        refusals: Object.fromEntries(refusalsByReason),
        received: bytesEnded.received + bytes.received,
        sent: bytesEnded.sent + bytes.sent,
      });
      if (samples.length > samplesKept) samples.shift();
    });

    const lookForRefusals = Effect.flatMap(MonotonicClock.now, (now) => {
      const [next, transitions] = RefusedClients.observe(refusals, metrics.refusalsByReason, now);
      refusals = next;
      return Effect.forEach(transitions, record, { discard: true });
    });

    let intervals = 0;
    const tick = Effect.suspend(() => {
      const sampled = intervals % intervalsPerSample === 0 ? sample : Effect.void;
      intervals += 1;
      return sampled.pipe(
        Effect.zipRight(lookForRefusals),
        Effect.zipRight(Effect.suspend(() => (viewers > 0 ? refresh : Effect.void))),
        // A bug in what is shown must not end what is recorded.
        Effect.catchAllDefect((defect) => Effect.logError("the feed of events failed by a defect", defect)),
        Effect.zipRight(Effect.sleep(interval)),
      );
    });
    yield* Effect.forkScoped(Effect.forever(tick));

    // Recorded even without clients: a client that connects later gets the earlier events.
    const ending = sessions.phases.pipe(
      Stream.filter((phase) => phase === "stopping" || phase === "draining"),
      Stream.map((phase): EventFields => ({ kind: "phase", detail: phase })),
    );
    yield* Stream.merge(Stream.map(yield* registry.events, ofPool), ending).pipe(
      Stream.runForEach(record),
      Effect.forkScoped,
    );

    const viewer = Effect.gen(function* () {
      yield* Effect.acquireRelease(
        Effect.sync(() => {
          viewers += 1;
        }),
        () =>
          Effect.sync(() => {
            viewers -= 1;
            if (viewers === 0) version = undefined;
          }),
      );
      let lastEvent = 0;
      let lastVersion = 0;
      const pull: Effect.Effect<Chunk.Chunk<Uint8Array>> = Effect.suspend(() => {
        const fresh = events.filter(({ id }) => id > lastEvent).map(({ bytes }) => bytes);
        lastEvent = lastId;
        const current = version;
        if (current === undefined || current.number === lastVersion) {
          if (fresh.length > 0) return Effect.succeed(Chunk.unsafeFromArray(fresh));
          return Effect.zipRight(current === undefined ? refresh : Deferred.await(pulse), pull);
        }
        const next = current.number === lastVersion + 1 ? current.change : undefined;
        lastVersion = current.number;
        return next === undefined
          ? Effect.map(current.status, (pieces) => Chunk.unsafeFromArray([...fresh, ...pieces]))
          : Effect.succeed(Chunk.unsafeFromArray([...fresh, next]));
      });
      return Stream.concat(
        Stream.sync(() => message("history", samples)),
        // One by one: each waits until the one before it was taken.
        Stream.rechunk(Stream.repeatEffectChunk(pull), 1),
      );
    });

    const end = Effect.asVoid(Deferred.succeed(over, undefined));
    yield* Effect.addFinalizer(() => end);
    return Feed.of({
      status,
      cut: (id, backend, by) =>
        record({
          kind: "cut",
          ...(backend === undefined ? {} : { backend: describe(backend) }),
          detail: `connection ${id} by ${by}`,
        }),
      messages: Stream.interruptWhenDeferred(Stream.unwrapScoped(viewer), over),
      end,
    });
  });

/** `changed` are the JSON of what is new of each backend. */
const changeMessage = (
  totals: ReturnType<typeof StatusDelta.ofTotals>,
  changed: ReadonlyArray<string>,
  removed: ReadonlyArray<{ readonly id: string; readonly address: string }>,
): Uint8Array => {
  const fields = JSON.stringify(removed.length === 0 ? totals : { ...totals, removed });
  const backends = changed.length === 0 ? "" : `,"backends":[${changed.join(",")}]`;
  return encoder.encode(`${before("change")}${fields.slice(0, -1)}${backends}}${after}`);
};

/** The feed of one balancer, and of the program around it. */
export const layer = (
  program: Views.AboutProgram,
): Layer.Layer<Feed, never, BackendRegistry | Metrics | Sessions> => Layer.scoped(Feed, make(program));
