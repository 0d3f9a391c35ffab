/**
 * Rise and fall: how many results in a row it takes to believe that a backend is up, or down. Pure.
 *
 * It stands beside the pool and not beside the prober because a result can come from a failed connect of real
 * traffic as well as from a probe, and both must count in one place.
 */

export interface Thresholds {
  /** Consecutive successes that bring a backend up again. At least 1. */
  readonly rise: number;
  /** Consecutive failures that take a backend down. At least 1. */
  readonly fall: number;
}

export interface Health {
  /** Whether the backend is taken to be up. A new one is not, before its first success. */
  readonly up: boolean;
  /** Consecutive results that speak against `up`; any result that agrees with it sets this back to 0. */
  readonly against: number;
  /** Whether any result has been seen. */
  readonly checked: boolean;
  /** Whether it has been up at some time: `rise` is asked only of a backend that went down. */
  readonly proven: boolean;
}

/** A backend nothing is known of yet: its first success brings it up, whatever `rise` says. */
export const unknown: Health = { up: false, against: 0, checked: false, proven: false };

const neverUp: Health = { up: false, against: 0, checked: true, proven: false };
const steadyUp: Health = { up: true, against: 0, checked: true, proven: true };
const steadyDown: Health = { up: false, against: 0, checked: true, proven: true };

/** What is believed after one more result. Answers the same value when nothing has changed. */
export const observe = (health: Health, succeeded: boolean, { rise, fall }: Thresholds): Health => {
  if (!health.proven) return succeeded ? steadyUp : neverUp;
  if (succeeded === health.up) return health.against === 0 ? health : health.up ? steadyUp : steadyDown;
  const against = health.against + 1;
  if (against >= (health.up ? fall : rise)) return health.up ? steadyDown : steadyUp;
  return { up: health.up, against, checked: true, proven: true };
};
