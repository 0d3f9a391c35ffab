/**
 * What the log says of a pool. A small change has a line for each backend; a large one, and the first list, has a line
 * that sums up, and the lines for each backend are at debug.
 */
import { Effect } from "effect";
import * as LogOnce from "../log/LogOnce.js";
import { quantity } from "../log/Quantity.js";
import { type Backend, describe, wholeWeight } from "./Backend.js";
import { type InvalidInstance, longestId } from "./Listing.js";
import * as Pool from "./Pool.js";

/** The most changes by one list, and the most backends down at their first check, that have a line each. */
const mostSingly = 10;

/** The id of an instance that may have any, as far as it is remembered and logged. */
const idOf = ({ instance }: InvalidInstance): string => String(instance.id).slice(0, longestId);

const annotations = (backend: Backend) => ({ backend: describe(backend) });

/** What discovery says of a backend: a limit only where there is one. */
const termsOf = ({ limit, listedWeight, role }: Backend) => ({
  weight: listedWeight,
  ...(limit === Infinity ? {} : { max_connections: limit }),
  role,
});

const line = (message: string, fields: Readonly<Record<string, unknown>>, singly: boolean) =>
  Effect.annotateLogs(singly ? Effect.logInfo(message) : Effect.logDebug(message), fields);

/** A list with this many changes was applied. */
export interface ListSummary {
  readonly added: number;
  readonly removed: number;
  readonly altered: number;
  /** It is the first. */
  readonly first: boolean;
}

export interface PoolLog {
  /**
   * A list is about to be taken over; for each of its changes {@link added}, {@link altered} or {@link removed}
   * follows.
   */
  readonly listed: (summary: ListSummary, pool: Pool.Pool) => Effect.Effect<void>;
  readonly added: (backend: Backend) => Effect.Effect<void>;
  readonly altered: (backend: Backend) => Effect.Effect<void>;
  readonly removed: (backend: Backend, connections: number) => Effect.Effect<void>;
  /** Instances of a list that were left out. */
  readonly invalid: (instances: ReadonlyArray<InvalidInstance>) => Effect.Effect<void>;
  /** A backend went up or down, and the pool is this now. */
  readonly transition: (transition: Pool.Transition, pool: Pool.Pool) => Effect.Effect<void>;
  /** A backend has more of its weight in its slow start, or all of it. */
  readonly raised: (backend: Backend) => Effect.Effect<void>;
  readonly weighed: (backend: Backend, by: string) => Effect.Effect<void>;
  readonly steered: (change: Pool.SteeringChange, by: string) => Effect.Effect<void>;
}

/** The log of one pool: it remembers what has been said. */
export const make = (): PoolLog => {
  // Of the last list that changed something: whether its changes have lines of their own.
  let singly = true;
  // The same of the first checks of its backends, and how many of these were down.
  let checkedSingly = true;
  let down = 0;
  const invalid = LogOnce.make<InvalidInstance>({
    textOf: (invalid) => JSON.stringify([idOf(invalid), invalid.field, invalid.why]),
    line: (invalid) =>
      Effect.annotateLogs(Effect.logWarning("instance skipped"), {
        instance: idOf(invalid),
        field: invalid.field,
        why: invalid.why,
      }),
    more: (count) => Effect.annotateLogs(Effect.logWarning("more instances skipped"), { instances: count }),
  });

  const wentUp = (backend: Backend, first: boolean) =>
    line("backend is up", annotations(backend), !first || checkedSingly);

  const wentDown = (backend: Backend, first: boolean) => {
    if (first) down += 1;
    const fields = { ...annotations(backend), why: backend.health.why?.message };
    return !first || checkedSingly || down <= mostSingly
      ? Effect.annotateLogs(Effect.logWarning("backend is down"), fields)
      : Effect.annotateLogs(Effect.logDebug("backend is down"), fields);
  };

  return {
    listed: ({ added, altered, first, removed }, pool) => {
      if (added + removed + altered === 0) return Effect.void;
      singly = !first && added + removed + altered <= mostSingly;
      if (singly) return Effect.void;
      if (added > 0) {
        checkedSingly = false;
        down = 0;
      }
      return Effect.annotateLogs(Effect.logInfo("backends listed"), {
        added,
        removed,
        ...(altered === 0 ? {} : { altered }),
        backends: pool.listed,
      });
    },
    added: (backend) => line("backend added", annotations(backend), singly),
    altered: (backend) => line("backend altered", { ...annotations(backend), ...termsOf(backend) }, singly),
    removed: (backend, connections) =>
      line("backend removed", { ...annotations(backend), connections }, singly),
    invalid,
    transition: ({ backend, first }, pool) =>
      Effect.suspend(() => {
        const said = backend.health.up ? wentUp(backend, first) : wentDown(backend, first);
        if (checkedSingly || pool.unchecked > 0) return said;
        checkedSingly = true;
        const healthy = Pool.healthy(pool);
        return Effect.zipRight(
          said,
          Effect.logInfo("backends checked").pipe(
            Effect.annotateLogs({ healthy: `${healthy} of ${quantity(pool.listed, "backend")}` }),
          ),
        );
      }),
    raised: (backend) =>
      line(
        backend.slowStart === undefined ? "slow start is over" : "slow start goes on",
        { ...annotations(backend), weight: backend.weight },
        false,
      ),
    weighed: (backend, by) => {
      const { chosenWeight, listedWeight } = backend;
      const message =
        chosenWeight === undefined ? "backend has its listed weight" : "backend's weight is chosen";
      return Effect.annotateLogs(Effect.logInfo(message), {
        ...annotations(backend),
        weight: wholeWeight(backend),
        listed: listedWeight,
        by,
      });
    },
    steered: ({ backend, before }, by) =>
      Effect.annotateLogs(Effect.logInfo(`backend is ${backend.admin}`), {
        ...annotations(backend),
        before,
        by,
      }),
  };
};
