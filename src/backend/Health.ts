/**
 * Rise and fall: how many results in a row it takes to believe that a backend is up, or down. Pure.
 *
 * It stands beside the pool and not beside the prober because a result can come from a client's connect as well as from
 * a probe, and both must count in one place.
 */

/**
 * @since 0.2.0
 * @category models
 */
export interface Thresholds {
  /** Consecutive successes that bring a backend up again. At least 1. */
  readonly rise: number;
  /** Consecutive failures that take a backend down. At least 1. */
  readonly fall: number;
}

/**
 * Why a backend could not be connected to.
 *
 * @since 0.2.0
 * @category models
 */
export type FailureReason =
  /** Its host answered, and nothing listens there. */
  | "refused"
  /** No answer in time. */
  | "timeout"
  /** No way there. */
  | "unreachable"
  /** The connection was broken off while it was made. */
  | "reset"
  /** This host has no address from which it could be reached. */
  | "no-source-address"
  /** Clients are listened to there by this very balancer: connections to it would go round in a circle. */
  | "own-address"
  /** What is listed is not an IP address with a port. */
  | "invalid-address"
  | "other";

/**
 * A failed probe or connect.
 *
 * @since 0.2.0
 * @category models
 */
export interface Failure {
  readonly reason: FailureReason;
  /** The same in words for people, with the address and the system's own code. */
  readonly message: string;
}

/**
 * What a probe, or the connect of a client's connection, said about a backend.
 *
 * @since 0.2.0
 * @category models
 */
export interface Observation {
  readonly by: "probe" | "client";
  /** When the attempt began, in monotonic milliseconds. */
  readonly began: number;
  /** Undefined where it succeeded. */
  readonly failure: Failure | undefined;
}

/**
 * What is believed of a backend. It changes when the backend goes up or down, and not with each result.
 *
 * @since 0.2.0
 * @category models
 */
export interface Health {
  /** Whether the backend is taken to be up. A new one is not, before its first success. */
  readonly up: boolean;
  /** Whether there has been any result. */
  readonly checked: boolean;
  /** Whether it has been up at some time: `rise` is asked only of a backend that went down. */
  readonly proven: boolean;
  /** When it last went up or down, in monotonic milliseconds; undefined while nothing is known of it. */
  readonly since: number | undefined;
  /** Why it is down; undefined while it is up, and while nothing is known of it. */
  readonly why: Failure | undefined;
}

/**
 * The results that have not changed what is believed, so far.
 *
 * @since 0.2.0
 * @category models
 */
export interface Run {
  /** Consecutive results that speak against it. */
  readonly against: number;
  /** When the first of these was known, in monotonic milliseconds. */
  readonly from: number;
  /** When the last result was known, in monotonic milliseconds; undefined before the first. */
  readonly lastCheck: number | undefined;
}

/**
 * Of a backend nothing is known of yet: its first success brings it up, whatever `rise` says.
 *
 * @since 0.2.0
 * @category constants
 */
export const unknown: Health = {
  up: false,
  checked: false,
  proven: false,
  since: undefined,
  why: undefined,
};

/**
 * Before the first result.
 *
 * @since 0.2.0
 * @category constants
 */
export const noRun: Run = { against: 0, from: 0, lastCheck: undefined };

/** Reasons that need no second attempt: the answer would be the same. */
const isCertain = ({ reason }: Failure): boolean =>
  reason === "no-source-address" || reason === "own-address";

const wentUp = (at: number): Health => ({
  up: true,
  checked: true,
  proven: true,
  since: at,
  why: undefined,
});

const wentDown = (before: Health, at: number, why: Failure): Health => ({
  up: false,
  checked: true,
  proven: before.proven,
  since: at,
  why,
});

/**
 * What is believed after one more result, which was known at a monotonic time in milliseconds. Health is the same value
 * when nothing has changed in it.
 *
 * "In a row" means: with no success between them, a client's success included. An attempt that was under way when the
 * first failure of a run became known counts as one with it. Clients' failures alone never take down the last healthy
 * backend: that is left to the probes. What clients make of a backend that is down is not counted.
 *
 * @example
 * ```ts
 * import { Health } from "zeitwork-load-balancer"
 *
 * const thresholds: Health.Thresholds = { rise: 2, fall: 3 }
 * const success: Health.Observation = { by: "probe", began: 1_000, failure: undefined }
 * const observed = Health.observe(Health.unknown, Health.noRun, success, 1_001, thresholds, false)
 * ```
 *
 * @since 0.2.0
 * @category accessors
 */
export const observe = (
  health: Health,
  run: Run,
  { began, by, failure }: Observation,
  at: number,
  { rise, fall }: Thresholds,
  isLastHealthy: boolean,
): readonly [Health, Run] => {
  const settled: Run = { against: 0, from: 0, lastCheck: at };
  const grown = (against: number): Run => ({
    against,
    from: run.against === 0 ? at : run.from,
    lastCheck: at,
  });
  if (failure === undefined) {
    if (health.up) return [health, settled];
    if (by === "client") return [health, run];
    const against = run.against + 1;
    return !health.proven || against >= rise ? [wentUp(at), settled] : [health, grown(against)];
  }
  if (isCertain(failure)) {
    const known = !health.up && health.why?.reason === failure.reason;
    return [known ? health : wentDown(health, at, failure), settled];
  }
  if (!health.up) return [health.checked ? health : wentDown(health, at, failure), settled];
  if (run.against > 0 && began < run.from) return [health, grown(run.against)];
  const against = run.against + 1;
  if (against < fall) return [health, grown(against)];
  return by === "client" && isLastHealthy
    ? [health, grown(fall - 1)]
    : [wentDown(health, at, failure), settled];
};
