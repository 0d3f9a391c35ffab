/**
 * Discovery: where the balancer learns which backends there are. A source that is asked implements `list`, and
 * {@link DiscoverySync} polls it; one that pushes (a watch) implements `changes` as well, which is followed instead.
 *
 * @example
 * ```ts
 * import { Effect, Layer, Stream } from "effect"
 * import { Discovery } from "zeitwork-load-balancer"
 *
 * declare const readBackends: Effect.Effect<Discovery.Answer, Discovery.DiscoveryError>
 * declare const watchBackends: Stream.Stream<Discovery.Answer, Discovery.DiscoveryError>
 *
 * const fromFile = Layer.succeed(Discovery.Discovery, { source: "backends.json", list: readBackends })
 * const fromWatch = Discovery.layerChanges({ source: "the watch", changes: watchBackends })
 * ```
 */
import { Context, Data, Effect, Layer, Option, Predicate, Stream, SubscriptionRef } from "effect";
import type { Instance } from "../backend/Backend.js";

/**
 * An entry that was listed and cannot be a backend. The others stand.
 *
 * @since 0.1.0
 * @category models
 */
export interface Skipped {
  /** The entry, as a message can name it: its id, or its place in the list. */
  readonly entry: string;
  /** Why, in words that can end a sentence. */
  readonly why: string;
  /**
   * It is not as entries should be, unlike one that is well-formed and not running. A list in which nothing else stands
   * than entries that cannot be used, at least one of them malformed, is a failed answer and not an empty list.
   */
  readonly malformed: boolean;
}

/**
 * A value of an entry that is wrong and counts as absent. The entry stands.
 *
 * @since 0.2.0
 * @category models
 */
export interface Ignored {
  /** The entry, as a message can name it. */
  readonly entry: string;
  /** Which value, and why, in words that can end a sentence. */
  readonly why: string;
}

/**
 * A list of backends, as it was had.
 *
 * @since 0.1.0
 * @category models
 */
export interface Answer {
  readonly instances: ReadonlyArray<Instance>;
  readonly skipped: ReadonlyArray<Skipped>;
  readonly ignored?: ReadonlyArray<Ignored> | undefined;
}

/**
 * Why there is no answer.
 *
 * @since 0.1.0
 * @category errors
 */
export type DiscoveryFailure =
  /** No connection to the source, or it broke before the answer had ended. */
  | "unreachable"
  /** The answer had not ended at the deadline. */
  | "timeout"
  /** The source answered with a status other than 2xx. */
  | "status"
  /** The answer is longer, has more entries or is nested deeper than is accepted. */
  | "too-large"
  /** The answer is not what it should be: not JSON, or JSON of another shape, or no entry of it can be used. */
  | "malformed";

/**
 * There is no list this time.
 *
 * @since 0.1.0
 * @category errors
 */
export class DiscoveryError extends Data.TaggedError("DiscoveryError")<{
  readonly reason: DiscoveryFailure;
  /** What was asked, and what is wrong with the answer; without any secret. */
  readonly message: string;
  /** The system's error, where there is one. It has no secrets either. */
  readonly cause?: unknown;
}> {}

/**
 * A source of lists. Its `list` and its `changes` bound the time that they take and the size of what they read.
 *
 * @since 0.1.0
 * @category tags
 */
export class Discovery extends Context.Tag("zeitwork-load-balancer/Discovery")<
  Discovery,
  {
    /** What is asked, for the log: a URL without credentials, or "a fixed list". */
    readonly source: string;
    /** Asks once. */
    readonly list: Effect.Effect<Answer, DiscoveryError>;
    /**
     * The list of now, and every later one. Undefined where the source has to be asked. When the stream fails or ends,
     * the last list stands and the stream is run again, after a pause.
     */
    readonly changes?: Stream.Stream<Answer, DiscoveryError> | undefined;
  }
>() {}

/**
 * Discovery from a source that pushes: `changes` emits the list of now when it is run, and each later one.
 *
 * @since 0.2.0
 * @category layers
 */
export const layerChanges = ({
  changes,
  source,
}: {
  readonly source: string;
  readonly changes: Stream.Stream<Answer, DiscoveryError>;
}): Layer.Layer<Discovery> =>
  Layer.succeed(Discovery, {
    source,
    changes,
    list: Effect.flatMap(
      Stream.runHead(changes),
      Option.match({
        onNone: () =>
          new DiscoveryError({
            reason: "unreachable",
            message: `${source}: the changes ended without a list`,
          }),
        onSome: Effect.succeed,
      }),
    ),
  });

/**
 * Discovery for tests: lists what the ref holds, and fails with the error that it holds. What is set is pushed at once.
 *
 * @example
 * ```ts
 * import { Effect, Layer, SubscriptionRef } from "effect"
 * import { type Backend, Discovery } from "zeitwork-load-balancer"
 *
 * const test = Effect.gen(function* () {
 *   const listed = yield* SubscriptionRef.make<ReadonlyArray<Backend.Instance> | Discovery.DiscoveryError>([])
 *   const discovery = Discovery.layerTest(listed)
 *   yield* SubscriptionRef.set(listed, [{ id: "a", address: { host: "10.0.0.1", port: 80 } }])
 *   return discovery
 * })
 * ```
 *
 * @since 0.2.0
 * @category layers
 */
export const layerTest = (
  ref: SubscriptionRef.SubscriptionRef<ReadonlyArray<Instance> | DiscoveryError>,
): Layer.Layer<Discovery> => {
  const answer = (value: ReadonlyArray<Instance> | DiscoveryError): Effect.Effect<Answer, DiscoveryError> =>
    Predicate.isTagged(value, "DiscoveryError")
      ? Effect.fail(value)
      : Effect.succeed({ instances: value, skipped: [] });
  return Layer.succeed(Discovery, {
    source: "a test",
    list: Effect.flatMap(SubscriptionRef.get(ref), answer),
    changes: Stream.mapEffect(ref.changes, answer),
  });
};
