/**
 * Keeps the registry in step with {@link Discovery}: asks it again and again or, where it pushes, follows its changes.
 * A discovery that fails changes nothing in the registry: the last list stands.
 *
 * @example
 * ```ts
 * import { Config, Layer } from "effect"
 * import { BackendRegistry, DiscoverySync, StaticDiscovery } from "zeitwork-load-balancer"
 *
 * const discovery = StaticDiscovery.layer({ backends: [{ host: "web.internal", port: 3000 }] })
 *
 * const synced = DiscoverySync.layer({ interval: "5 seconds" }).pipe(
 *   Layer.provide(discovery),
 *   Layer.provideMerge(BackendRegistry.layer({})),
 * )
 * const configured = DiscoverySync.layerConfig({ interval: Config.duration("POLL_INTERVAL") })
 * ```
 */
import {
  type Cause,
  Config,
  type ConfigError,
  Context,
  Duration,
  Effect,
  Fiber,
  Layer,
  Random,
  Ref,
  type Scope,
  Stream,
} from "effect";
import type { Instance } from "../backend/Backend.js";
import { BackendRegistry } from "../backend/BackendRegistry.js";
import { problemOf } from "../backend/Listing.js";
import type { Pool } from "../backend/Pool.js";
import * as MonotonicClock from "../clock/MonotonicClock.js";
import * as TimeSlices from "../clock/TimeSlices.js";
import * as InvalidOption from "../config/InvalidOption.js";
import * as Settings from "../config/Settings.js";
import { printable } from "../log/ForeignText.js";
import * as LogOnce from "../log/LogOnce.js";
import { Metrics } from "../metrics/Metrics.js";
import {
  type Answer,
  Discovery,
  DiscoveryError,
  type DiscoveryFailure,
  type Ignored,
  type Skipped,
} from "./Discovery.js";

/**
 * @since 0.2.0
 * @category models
 */
export interface Options {
  /** From the end of one poll to the start of the next; each pause is longer or shorter by up to a tenth. 5 s. */
  readonly interval?: Duration.DurationInput;
  /** How long a source that pushes may take to its first list before that counts as a failure. 3 s. */
  readonly timeout?: Duration.DurationInput;
}

/**
 * A time of failed discoveries that has not ended.
 *
 * @since 0.1.0
 * @category models
 */
export interface Outage {
  /** When the first of them failed, in monotonic milliseconds. */
  readonly since: number;
  /** How many there were. */
  readonly failures: number;
  /** Of the last one; "defect" when the implementation itself failed. */
  readonly reason: DiscoveryFailure | "defect";
  readonly message: string;
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Status {
  /** When a list was last had, in monotonic milliseconds; undefined before the first. */
  readonly lastSuccess: number | undefined;
  /** Undefined while discovery succeeds. */
  readonly outage: Outage | undefined;
}

/**
 * @since 0.2.0
 * @category tags
 */
export class DiscoverySync extends Context.Tag("zeitwork-load-balancer/DiscoverySync")<
  DiscoverySync,
  {
    readonly status: Effect.Effect<Status>;
  }
>() {}

/**
 * The longest pause after failures, unless the interval is longer.
 *
 * @since 0.2.0
 * @category constants
 */
export const longestBackoff = Duration.seconds(30);

/** How much of a text of a Discovery from outside is logged. */
const mostShown = 500;

/**
 * How long to wait before the next poll, in milliseconds, after `failures` failures in a row. `random` is from 0 to 1.
 * After a success it is the interval, a tenth more or less. After failures it doubles each time, up to
 * {@link longestBackoff}, and is shortened by up to a fifth: balancers that lost one Operator together do not come back
 * together.
 *
 * @since 0.2.0
 * @category accessors
 */
export const pause = (intervalMillis: number, failures: number, random: number): number => {
  if (failures === 0) return intervalMillis * (0.9 + 0.2 * random);
  const most = Math.max(intervalMillis, Duration.toMillis(longestBackoff));
  return Math.min(most, intervalMillis * 2 ** (failures - 1)) * (1 - 0.2 * random);
};

interface State extends Status {
  /** How many instances the list has that stands. */
  readonly listed: number;
  /** The last answer was empty, and the list that stands is not: a second empty answer confirms it. */
  readonly unconfirmed: boolean;
}

/** What is listed already is of an earlier process: the last list until there is another. */
const initial = ({ listed }: Pool): State => ({
  lastSuccess: undefined,
  outage: undefined,
  listed,
  unconfirmed: false,
});

/**
 * Whether an answer is empty and contradicts the list that stands: an Operator that has just restarted may know nothing
 * yet, so a poll has to answer it twice in a row. What is pushed is taken as it is, as there may be no second time.
 */
const needsConfirmation = ({ listed, unconfirmed }: State, { instances }: Answer, pushed: boolean): boolean =>
  instances.length === 0 && listed > 0 && !unconfirmed && !pushed;

/** Whether one of these can be a backend. Yields between slices: a Discovery from outside may list any number. */
const anyUsable = function* (instances: ReadonlyArray<Instance>): Generator<void, boolean> {
  for (const [i, instance] of instances.entries()) {
    if (problemOf(instance) === undefined) return true;
    if (i % 100 === 99) yield;
  }
  return false;
};

/** A response without usable entries, but with entries, does not count as an empty list. */
const checked = (source: string, { instances, skipped }: Answer): Effect.Effect<void, DiscoveryError> =>
  Effect.flatMap(TimeSlices.run(anyUsable(instances)), (usable) => {
    const malformed = skipped.find((each) => each.malformed);
    if (usable || (instances.length === 0 && malformed === undefined)) return Effect.void;
    const why =
      malformed === undefined
        ? `${instances[0]?.id}: ${instances.slice(0, 1).map(problemOf)[0]?.why}`
        : `${malformed.entry}: ${malformed.why}`;
    return new DiscoveryError({
      reason: "malformed",
      message: `${source}: no entry of the list can be used; ${why}`,
    });
  });

/** Logs entries that were not skipped in the answer before. */
const makeSkippedLog = () =>
  LogOnce.make<Skipped>({
    textOf: ({ entry, why }) => `${printable(entry, mostShown)}\n${printable(why, mostShown)}`,
    line: ({ entry, why }) =>
      Effect.annotateLogs(Effect.logWarning("instance skipped"), {
        instance: printable(entry, mostShown),
        why: printable(why, mostShown),
      }),
    more: (count) => Effect.annotateLogs(Effect.logWarning("more instances skipped"), { instances: count }),
  });

/** Logs values that were not ignored in the answer before. */
const makeIgnoredLog = () =>
  LogOnce.make<Ignored>({
    textOf: ({ entry, why }) => `${printable(entry, mostShown)}\n${printable(why, mostShown)}`,
    line: ({ entry, why }) =>
      Effect.annotateLogs(Effect.logWarning("value of an instance ignored"), {
        instance: printable(entry, mostShown),
        why: printable(why, mostShown),
      }),
    more: (count) => Effect.annotateLogs(Effect.logWarning("more values ignored"), { values: count }),
  });

const logRecovered = ({ failures, since }: Outage, at: number) =>
  Effect.logInfo("discovery has recovered").pipe(
    Effect.annotateLogs({ after: Duration.format(Duration.millis(Math.round(at - since))), failures }),
  );

/**
 * Starts at once, in the scope.
 *
 * @since 0.2.0
 * @category constructors
 */
export const make = (
  options: Options = {},
): Effect.Effect<
  typeof DiscoverySync.Service,
  InvalidOption.InvalidOption,
  Discovery | BackendRegistry | Metrics | Scope.Scope
> =>
  Effect.gen(function* () {
    const intervalMillis = yield* InvalidOption.duration(
      "interval",
      options.interval ?? Settings.defaults.discoveryInterval,
    );
    const timeoutMillis = yield* InvalidOption.duration(
      "timeout",
      options.timeout ?? Settings.defaults.discoveryTimeout,
    );
    const { changes, list, source } = yield* Discovery;
    const registry = yield* BackendRegistry;
    const metrics = yield* Metrics;
    const state = yield* Ref.make(initial(yield* registry.pool));
    const logSkipped = makeSkippedLog();
    const logIgnored = makeIgnoredLog();

    const takeOver = (answer: Answer, pushed: boolean) =>
      Effect.gen(function* () {
        const before = yield* Ref.get(state);
        const at = yield* MonotonicClock.now;
        const { instances } = answer;
        metrics.polled("success", at);
        if (before.outage !== undefined) yield* logRecovered(before.outage, at);
        const unconfirmed = needsConfirmation(before, answer, pushed);
        const listed = unconfirmed ? before.listed : instances.length;
        yield* Ref.set(state, { ...before, listed, unconfirmed, lastSuccess: at, outage: undefined });
        if (unconfirmed) {
          return yield* Effect.logWarning(
            "discovery lists no instance; the last list is kept until it says so again",
          ).pipe(Effect.annotateLogs({ instances: listed }));
        }
        // Once when it becomes so, and not at every poll.
        if (listed === 0 && (before.listed > 0 || before.lastSuccess === undefined)) {
          yield* Effect.logWarning("discovery lists no instance");
        }
        yield* registry.discovered(instances);
      });

    const failed = (reason: Outage["reason"], message: string) =>
      Effect.gen(function* () {
        const at = yield* MonotonicClock.now;
        const before = yield* Ref.get(state);
        metrics.polled(reason, at);
        const since = before.outage?.since ?? at;
        const failures = (before.outage?.failures ?? 0) + 1;
        // An answer is missing between the two empty ones that are needed.
        yield* Ref.set(state, {
          ...before,
          unconfirmed: false,
          outage: { since, failures, reason, message },
        });
        yield* registry.discoveryFailed(
          `no list of backends yet: discovery fails (${reason === "defect" ? "a defect" : reason})`,
        );
        const { phase } = yield* registry.pool;
        return {
          changed: before.outage?.reason !== reason,
          consequence: phase === "starting" ? "there is no list yet" : "the last list is kept",
        };
      });

    const onError = ({ message, reason }: DiscoveryError) =>
      Effect.uninterruptible(
        Effect.gen(function* () {
          const why = printable(message, mostShown);
          const { changed, consequence } = yield* failed(reason, why);
          yield* (
            changed
              ? Effect.logWarning(`discovery fails; ${consequence}`)
              : Effect.logDebug("discovery still fails")
          ).pipe(Effect.annotateLogs({ reason, why }));
        }),
      );

    // Each time, and with its cause: this is a mistake in a program, not a state of the world. Discovery goes on: a
    // balancer that silently stopped to discover would be worse.
    const onDefect = (cause: Cause.Cause<never>) =>
      Effect.flatMap(
        failed("defect", `${source}: the implementation of Discovery failed`),
        ({ consequence }) => Effect.logError(`discovery failed by a defect; ${consequence}`, cause),
      );

    const onAnswer = (answer: Answer, pushed: boolean) =>
      Effect.gen(function* () {
        yield* logSkipped(answer.skipped);
        yield* logIgnored(answer.ignored ?? []);
        yield* checked(source, answer);
        yield* takeOver(answer, pushed);
      });

    const poll = Effect.flatMap(list, (answer) => onAnswer(answer, false));

    /** Ends only by failing. A source that does not push its first list in time fails once, and is listened to on. */
    const follow = (pushed: Stream.Stream<Answer, DiscoveryError>) =>
      Effect.scoped(
        Effect.gen(function* () {
          const overdue = yield* Effect.sleep(Duration.millis(timeoutMillis)).pipe(
            Effect.zipRight(
              onError(
                new DiscoveryError({
                  reason: "timeout",
                  message: `${source}: no list within ${Duration.format(Duration.millis(timeoutMillis))}`,
                }),
              ),
            ),
            Effect.forkScoped,
          );
          // Only the newest list counts: if lists arrive faster than they are applied, those between are skipped.
          yield* Stream.buffer(pushed, { capacity: 1, strategy: "sliding" }).pipe(
            Stream.runForEach((answer) => Effect.zipRight(Fiber.interrupt(overdue), onAnswer(answer, true))),
          );
          return yield* new DiscoveryError({
            reason: "unreachable",
            message: `${source}: the stream of changes has ended`,
          });
        }),
      );

    const once = (changes === undefined ? poll : follow(changes)).pipe(
      Effect.catchAll(onError),
      // Our own interruption propagates; an interruption raised by the implementation is treated as a defect.
      Effect.catchAllCause(onDefect),
    );

    const rest = Effect.gen(function* () {
      const { outage } = yield* Ref.get(state);
      const random = yield* Random.next;
      yield* Effect.sleep(Duration.millis(pause(intervalMillis, outage?.failures ?? 0, random)));
    });

    yield* Effect.logInfo("asking for the list of backends").pipe(
      Effect.zipRight(Effect.forever(Effect.zipRight(once, rest))),
      Effect.annotateLogs({ discovery: source }),
      Effect.forkScoped,
    );

    return DiscoverySync.of({
      status: Effect.map(Ref.get(state), ({ lastSuccess, outage }) => ({ lastSuccess, outage })),
    });
  });

/**
 * Keeps the registry in step for as long as the layer's scope is open.
 *
 * @since 0.2.0
 * @category layers
 */
export const layer = (
  options: Options = {},
): Layer.Layer<DiscoverySync, InvalidOption.InvalidOption, Discovery | BackendRegistry | Metrics> =>
  Layer.scoped(DiscoverySync, make(options));

/**
 * The same with options from a ConfigProvider.
 *
 * @since 0.2.0
 * @category layers
 */
export const layerConfig = (
  options: Config.Config.Wrap<Options>,
): Layer.Layer<
  DiscoverySync,
  InvalidOption.InvalidOption | ConfigError.ConfigError,
  Discovery | BackendRegistry | Metrics
> => Layer.unwrapEffect(Effect.map(Config.unwrap(options), layer));
