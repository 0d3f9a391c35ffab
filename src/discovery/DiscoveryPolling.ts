/**
 * Asks Discovery again and again, and tells the registry what it lists.
 *
 * What a poll tells is decided by a pure function ({@link believe}); this module adds the clock, the log and the
 * registry. A poll that fails changes nothing in the registry: the last good list stands.
 */
import { type Cause, Context, Deferred, Duration, Effect, Either, Layer, Random, Ref } from "effect";
import type { Instance } from "../backend/Backend.js";
import { BackendRegistry } from "../backend/BackendRegistry.js";
import * as MonotonicClock from "../clock/MonotonicClock.js";
import { Metrics } from "../metrics/Metrics.js";
import { Discovery, type DiscoveryError, type DiscoveryFailure, type Skipped } from "./Discovery.js";

export interface Options {
  /** From the end of one poll to the start of the next; each wait is longer or shorter by up to a tenth. */
  readonly interval: Duration.DurationInput;
}

/** A time of failed polls that has not ended. */
export interface Outage {
  /** When the first of them ended, in monotonic milliseconds. */
  readonly since: number;
  /** How many there were. */
  readonly failures: number;
  /** Of the last one; "defect" when the implementation itself broke. */
  readonly reason: DiscoveryFailure | "defect";
  readonly message: string;
}

export interface Status {
  /** When a poll last succeeded, in monotonic milliseconds; undefined before the first success. */
  readonly lastSuccess: number | undefined;
  /** Undefined while polls succeed. */
  readonly outage: Outage | undefined;
}

export class DiscoveryPolling extends Context.Tag("zeitwork-load-balancer/DiscoveryPolling")<
  DiscoveryPolling,
  {
    /** Waits for the end of the first poll, well or badly; ends at once if it has ended. */
    readonly firstEnded: Effect.Effect<void>;
    readonly status: Effect.Effect<Status>;
  }
>() {}

/** The longest wait after failures, unless the interval is longer. */
export const longestBackoff = Duration.seconds(30);

// What a timer can hold, in milliseconds.
const longestTimer = 2 ** 31 - 1;

// How many skipped entries are named in the log after one poll, and how many are remembered as named.
const mostNamed = 10;
const mostRemembered = 1000;

/**
 * How long to wait before the next poll, in milliseconds, after so many failures in a row. `random` is from 0 to
 * 1. After a success the interval, a tenth more or less. After failures it doubles each time, up to
 * {@link longestBackoff}, and is shortened by up to a fifth: balancers that lost one Operator together do not
 * come back together.
 */
export const pause = (interval: Duration.DurationInput, failures: number, random: number): number => {
  const usual = Duration.toMillis(interval);
  if (failures === 0) return Math.min(longestTimer, usual * (0.9 + 0.2 * random));
  const most = Math.max(usual, Duration.toMillis(longestBackoff));
  return Math.min(longestTimer, Math.min(most, usual * 2 ** (failures - 1)) * (1 - 0.2 * random));
};

/** What is believed of the answers so far. */
interface Belief {
  /** How many instances were listed by the answer that was last believed. */
  readonly listed: number;
  /** Empty answers in a row that contradict it. */
  readonly doubted: number;
}

/**
 * An answer is believed at once, except for an empty one after one that was not: an Operator that has just
 * restarted may know nothing yet, so it must say so twice in a row.
 */
const believe = ({ listed, doubted }: Belief, found: number): readonly [Belief, boolean] =>
  found === 0 && listed > 0 && doubted === 0
    ? [{ listed, doubted: 1 }, false]
    : [{ listed: found, doubted: 0 }, true];

interface State extends Status, Belief {
  /** The skipped entries that were named in the log and are still there. */
  readonly named: ReadonlySet<string>;
}

const initial: State = { lastSuccess: undefined, outage: undefined, listed: 0, doubted: 0, named: new Set() };

/** Starts polling, at once, in the scope. */
export const make = ({ interval }: Options) =>
  Effect.gen(function* () {
    const discovery = yield* Discovery;
    const registry = yield* BackendRegistry;
    const metrics = yield* Metrics;
    const state = yield* Ref.make(initial);
    const first = yield* Deferred.make<void>();
    const { source } = discovery;

    const nameSkipped = (before: ReadonlySet<string>, skipped: ReadonlyArray<Skipped>) =>
      Effect.gen(function* () {
        const now = new Map(
          skipped.slice(0, mostRemembered).map((item) => [`${item.entry}\n${item.why}`, item]),
        );
        const fresh = [...now].filter(([key]) => !before.has(key)).map(([, item]) => item);
        for (const { entry, why } of fresh.slice(0, mostNamed)) {
          yield* Effect.logWarning("instance skipped").pipe(Effect.annotateLogs({ instance: entry, why }));
        }
        if (fresh.length > mostNamed) {
          yield* Effect.logWarning("more instances skipped").pipe(
            Effect.annotateLogs({ instances: fresh.length - mostNamed }),
          );
        }
        return new Set(now.keys());
      });

    const recovered = (outage: Outage, at: number) =>
      Effect.logInfo("discovery has recovered").pipe(
        Effect.annotateLogs({
          after: Duration.format(Duration.millis(Math.round(at - outage.since))),
          failures: outage.failures,
        }),
      );

    const succeeded = (instances: ReadonlyArray<Instance>, skipped: ReadonlyArray<Skipped>) =>
      Effect.gen(function* () {
        const before = yield* Ref.get(state);
        const at = yield* MonotonicClock.now;
        metrics.polled("success", at);
        if (before.outage !== undefined) yield* recovered(before.outage, at);
        const [belief, believed] = believe(before, instances.length);
        const named = yield* nameSkipped(before.named, skipped);
        yield* Ref.set(state, { ...belief, named, lastSuccess: at, outage: undefined });
        if (!believed) {
          yield* Effect.logWarning(
            "discovery lists no instance; the last list is kept until it says so again",
          ).pipe(Effect.annotateLogs({ instances: before.listed }));
          return;
        }
        // Once when it becomes so, and not at every poll.
        if (instances.length === 0 && (before.listed > 0 || before.lastSuccess === undefined)) {
          yield* Effect.logWarning("discovery lists no instance");
        }
        yield* registry.discovered(instances);
      });

    const failed = (reason: Outage["reason"], message: string) =>
      Effect.gen(function* () {
        const at = yield* MonotonicClock.now;
        const before = yield* Ref.get(state);
        metrics.polled(reason, at);
        yield* registry.discoveryFailed(
          `no list of backends yet: discovery fails (${reason === "defect" ? "it broke" : reason})`,
        );
        const since = before.outage?.since ?? at;
        const failures = (before.outage?.failures ?? 0) + 1;
        // An answer is missing between the two empty ones that are needed.
        yield* Ref.set(state, { ...before, doubted: 0, outage: { since, failures, reason, message } });
        return before.outage?.reason !== reason;
      });

    const refused = ({ reason, message }: DiscoveryError) =>
      Effect.flatMap(failed(reason, message), (changed) =>
        changed
          ? Effect.logWarning("discovery fails; the last list is kept").pipe(
              Effect.annotateLogs({ reason, why: message }),
            )
          : Effect.logDebug("discovery still fails").pipe(Effect.annotateLogs({ reason, why: message })),
      );

    // Each time, and with its cause: this is a mistake in a program, not a state of the world. Polling goes on,
    // because a balancer that silently stopped to discover would be worse.
    const broke = (cause: Cause.Cause<never>) =>
      Effect.zipRight(
        failed("defect", `${source}: the implementation of Discovery broke`),
        Effect.logError("discovery broke; the last list is kept", cause),
      );

    const poll = Effect.either(discovery.list).pipe(
      Effect.flatMap((answer) =>
        Either.isRight(answer)
          ? succeeded(answer.right.instances, answer.right.skipped)
          : refused(answer.left),
      ),
      // An interruption of this very fiber goes on behind this; one that the implementation made is a defect.
      Effect.catchAllCause(broke),
    );

    const rest = Effect.gen(function* () {
      const { outage } = yield* Ref.get(state);
      const random = yield* Random.next;
      yield* Effect.sleep(Duration.millis(pause(interval, outage?.failures ?? 0, random)));
    });

    const firstPoll = Effect.gen(function* () {
      yield* poll;
      yield* Deferred.succeed(first, undefined);
    });

    yield* firstPoll.pipe(
      Effect.zipRight(Effect.forever(Effect.zipRight(rest, poll))),
      Effect.annotateLogs({ discovery: source }),
      Effect.forkScoped,
    );

    return DiscoveryPolling.of({
      firstEnded: Deferred.await(first),
      status: Effect.map(Ref.get(state), ({ lastSuccess, outage }) => ({ lastSuccess, outage })),
    });
  });

/** Polls for as long as the layer's scope is open. */
export const layer = (
  options: Options,
): Layer.Layer<DiscoveryPolling, never, Discovery | BackendRegistry | Metrics> =>
  Layer.scoped(DiscoveryPolling, make(options));
