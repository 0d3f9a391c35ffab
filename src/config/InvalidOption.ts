/**
 * Checks of what callers of the library pass as options, with the same bounds as the program's settings: a number that
 * is not a port, or a duration that no timer can hold, is a typed error when the layer is built.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { type InvalidOption, LoadBalancer } from "zeitwork-load-balancer"
 *
 * const explain = (error: InvalidOption): string => `${error.option} cannot be used: ${error.message}`
 *
 * const checked = LoadBalancer.make({ port: 91036 }).pipe(
 *   Effect.catchTag("InvalidOption", (error) => Effect.logError(explain(error))),
 * )
 * ```
 */
import { Data, Duration, Effect, Redacted } from "effect";
import { isIpAddress } from "../net/SocketAddress.js";
import * as FilePath from "./FilePath.js";
import * as Token from "./Token.js";

/**
 * An option that cannot be used.
 *
 * @since 0.2.0
 * @category errors
 */
export class InvalidOption extends Data.TaggedError("InvalidOption")<{
  /** The name of the field, as the caller wrote it: `connectTimeout`. */
  readonly option: string;
  /** The value, as it may be printed. */
  readonly value: string;
  /** What is accepted, in words that can follow "accepted:". */
  readonly accepted: string;
}> {
  override get message(): string {
    return `${this.option} is ${this.value}; accepted: ${this.accepted}`;
  }
}

const check = <A>(
  holds: boolean,
  value: A,
  option: string,
  shown: string,
  accepted: string,
): Effect.Effect<A, InvalidOption> =>
  holds ? Effect.succeed(value) : Effect.fail(new InvalidOption({ option, value: shown, accepted }));

/**
 * A whole number within bounds, both included.
 *
 * @since 0.2.0
 * @category checks
 */
export const count = (
  option: string,
  value: number,
  { least, most }: { readonly least: number; readonly most: number },
): Effect.Effect<number, InvalidOption> =>
  check(
    Number.isInteger(value) && value >= least && value <= most,
    value,
    option,
    String(value),
    `a whole number from ${least} to ${most}`,
  );

/**
 * As {@link count}, where a limit may be left out.
 *
 * @since 0.2.0
 * @category checks
 */
export const countOrNone = (
  option: string,
  value: number | undefined,
  bounds: { readonly least: number; readonly most: number },
): Effect.Effect<number | undefined, InvalidOption> =>
  value === undefined ? Effect.succeed(undefined) : count(option, value, bounds);

/**
 * The greatest count of a rate limit.
 *
 * @since 0.2.0
 * @category constants
 */
export const mostOfRate = 1_000_000;

/**
 * A rate limit: a count in a period. It may be left out.
 *
 * @since 0.2.0
 * @category checks
 */
export const rateOrNone = <A extends { readonly count: number }>(
  option: string,
  value: A | undefined,
): Effect.Effect<A | undefined, InvalidOption> =>
  value === undefined
    ? Effect.succeed(undefined)
    : Effect.as(count(`${option}.count`, value.count, { least: 1, most: mostOfRate }), value);

/**
 * A port to listen on: 0, which is any free port, to 65535.
 *
 * @since 0.2.0
 * @category checks
 */
export const port = (option: string, value: number): Effect.Effect<number, InvalidOption> =>
  count(option, value, { least: 0, most: 65535 });

/**
 * An IP address in text without brackets; names are not looked up. Undefined (every address) passes.
 *
 * @since 0.2.0
 * @category checks
 */
export const ipAddress = <A extends string | undefined>(
  option: string,
  value: A,
): Effect.Effect<A, InvalidOption> =>
  check(
    value === undefined || isIpAddress(value),
    value,
    option,
    JSON.stringify(value),
    "an IPv4 or IPv6 address without brackets, such as 127.0.0.1, 0.0.0.0 or ::1",
  );

/**
 * The absolute path of a file.
 *
 * @since 0.2.0
 * @category checks
 */
export const absolutePath = (option: string, value: string): Effect.Effect<string, InvalidOption> =>
  check(FilePath.problemOf(value) === undefined, value, option, JSON.stringify(value), FilePath.accepted);

/**
 * The most addresses to connect from.
 *
 * @since 0.2.0
 * @category constants
 */
export const mostSources = 64;

/**
 * The longest duration that is accepted. Timers hold at most 2^31 - 1 ms (24.8 days) and fire after 1 ms beyond that;
 * intervals are jittered by a tenth, so this leaves room.
 *
 * @since 0.2.0
 * @category checks
 */
export const longestDuration: Duration.Duration = Duration.days(20);

/**
 * A duration in milliseconds, from `least` (1 ms unless said otherwise) to {@link longestDuration}.
 *
 * @since 0.2.0
 * @category checks
 */
export const duration = (
  option: string,
  value: Duration.DurationInput,
  least: Duration.DurationInput = Duration.millis(1),
): Effect.Effect<number, InvalidOption> =>
  Effect.suspend(() => {
    const decoded = Duration.decode(value);
    return check(
      Duration.between(decoded, { minimum: least, maximum: longestDuration }),
      Duration.toMillis(decoded),
      option,
      Duration.format(decoded),
      `a duration from ${Duration.format(least)} to ${Duration.format(longestDuration)}`,
    );
  });

/**
 * As {@link duration}, where a limit may be left out: undefined and infinity are none.
 *
 * @since 0.2.0
 * @category checks
 */
export const durationOrNone = (
  option: string,
  value: Duration.DurationInput | undefined,
  least?: Duration.DurationInput,
): Effect.Effect<number | undefined, InvalidOption> =>
  value === undefined || Duration.equals(value, Duration.infinity)
    ? Effect.succeed(undefined)
    : duration(option, value, least);

/**
 * A token that can be sent in a header, of at least `least` characters. Undefined passes; the value is never shown.
 *
 * @since 0.2.0
 * @category checks
 */
export const token = <A extends Redacted.Redacted | undefined>(
  option: string,
  value: A,
  least: number,
): Effect.Effect<A, InvalidOption> =>
  check(
    value === undefined || Token.problemOf(Redacted.value(value), least) === undefined,
    value,
    option,
    "<redacted>",
    Token.accepted(least),
  );
