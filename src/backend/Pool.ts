/**
 * The pool: an immutable value, and everything that can happen to it as a pure function.
 *
 * Nothing here knows of Effect, clocks or sockets. {@link BackendRegistry} holds the one pool of a balancer.
 */
import type { Algorithm, Client } from "../balancing/Algorithm.js";
import * as Roster from "../balancing/Roster.js";
import { type Admin, type Backend, type Instance, keyOf, type Seen, type Steered } from "./Backend.js";
import * as Health from "./Health.js";

/** `starting` until discovery has listed once. */
export type Phase = "starting" | "serving";

export interface Pool {
  readonly roster: Roster.Roster<Backend>;
  readonly algorithm: Algorithm;
  readonly thresholds: Health.Thresholds;
  readonly phase: Phase;
  /** Why discovery has not listed yet; undefined before it has failed once, and from the first list on. */
  readonly notListed: string | undefined;
  /** Backends that discovery lists: those in the roster that are not leaving. */
  readonly listed: number;
  /** Listed backends that no probe and no connect has told anything about yet. */
  readonly unchecked: number;
  /** What an operator has chosen, by the key of the backend: it holds when the backend leaves and comes back. */
  readonly chosen: ReadonlyMap<string, Pick<Backend, "admin" | "steered">>;
  /** Connections assigned and not yet released, those of leaving backends included. */
  readonly connections: number;
}

const notSeen: Seen = { lastCheck: undefined, since: undefined, why: undefined };
const notSteered = { admin: "enabled", steered: undefined } as const;

// Choices outlive their backends, so they need a bound of their own.
const mostChosen = 10_000;

export const make = (algorithm: Algorithm, thresholds: Health.Thresholds): Pool => ({
  roster: Roster.empty,
  algorithm,
  thresholds,
  phase: "starting",
  notListed: undefined,
  listed: 0,
  unchecked: 0,
  chosen: new Map(),
  connections: 0,
});

/** Listed backends that are up. O(1). */
export const healthy = (pool: Pool): number => Roster.eligibleCount(pool.roster);

/** Every listed backend, in the order of slots: each keeps its place for as long as it is known. O(n). */
export const backends = (pool: Pool): ReadonlyArray<Backend> =>
  Roster.toArray(pool.roster).filter((backend) => !backend.leaving);

/** The backend as it is now; undefined once it has gone, even if another one sits in its slot. */
export const current = (pool: Pool, backend: Backend): Backend | undefined => {
  const now = Roster.get(pool.roster, backend.slot);
  return now?.key === backend.key ? now : undefined;
};

export interface DiscoveryChange {
  readonly added: ReadonlyArray<Backend>;
  readonly removed: ReadonlyArray<Backend>;
}

/**
 * Discovery lists exactly these. A backend that stays keeps its health, its connections and its last check; one
 * that is gone leaves at once if it has no connections, and otherwise with its last one. Of instances with the
 * same id and address the first counts. The pool serves from the first list on, however many backends it has.
 */
export const discovered = (
  pool: Pool,
  instances: ReadonlyArray<Instance>,
): readonly [Pool, DiscoveryChange] => {
  const unseen = new Map(Roster.toArray(pool.roster).map((backend) => [backend.key, backend]));
  const seen = new Set<string>();
  const added: Array<Backend> = [];
  const removed: Array<Backend> = [];
  let { roster, listed, unchecked } = pool;
  for (const instance of instances) {
    const key = keyOf(instance);
    if (seen.has(key)) continue;
    seen.add(key);
    const known = unseen.get(key);
    unseen.delete(key);
    if (known === undefined) {
      roster = Roster.insert(roster, (slot) => {
        const backend: Backend = {
          id: instance.id,
          name: instance.name,
          address: instance.address,
          key,
          slot,
          health: Health.unknown,
          eligible: false,
          connections: 0,
          leaving: false,
          seen: notSeen,
          ...(pool.chosen.get(key) ?? notSteered),
        };
        added.push(backend);
        return backend;
      });
      listed += 1;
      unchecked += 1;
    } else if (known.leaving) {
      const back: Backend = {
        ...known,
        leaving: false,
        eligible: takesNew(known.health, false, known.admin),
      };
      roster = Roster.replace(roster, back);
      added.push(back);
      listed += 1;
      if (!known.health.checked) unchecked += 1;
    }
  }
  for (const gone of unseen.values()) {
    if (gone.leaving) continue;
    removed.push(gone);
    listed -= 1;
    if (!gone.health.checked) unchecked -= 1;
    roster =
      gone.connections === 0
        ? Roster.remove(roster, gone.slot)
        : Roster.replace(roster, { ...gone, leaving: true, eligible: false });
  }
  const first = pool.phase === "starting";
  return added.length === 0 && removed.length === 0 && !first
    ? [pool, { added, removed }]
    : [
        {
          ...pool,
          roster,
          listed,
          unchecked,
          phase: first ? "serving" : pool.phase,
          notListed: undefined,
        },
        { added, removed },
      ];
};

const takesNew = (health: Health.Health, leaving: boolean, admin: Admin): boolean =>
  health.up && !leaving && admin === "enabled";

// The next two name every field instead of spreading: they run for every connection and every probe, and with
// spreads a choice with its accounting costs some five times as much.
const having = (backend: Backend, connections: number, health: Health.Health, seen: Seen): Backend => ({
  id: backend.id,
  name: backend.name,
  address: backend.address,
  key: backend.key,
  slot: backend.slot,
  health,
  eligible: takesNew(health, backend.leaving, backend.admin),
  connections,
  leaving: backend.leaving,
  seen,
  admin: backend.admin,
  steered: backend.steered,
});

const holding = (
  pool: Pool,
  roster: Roster.Roster<Backend>,
  algorithm: Algorithm,
  unchecked: number,
  connections: number,
): Pool => ({
  roster,
  algorithm,
  thresholds: pool.thresholds,
  phase: pool.phase,
  notListed: pool.notListed,
  listed: pool.listed,
  unchecked,
  chosen: pool.chosen,
  connections,
});

/** What a probe, or the connect of a client's connection, told about a backend. */
export type Observation =
  | { readonly succeeded: true }
  | { readonly succeeded: false /** Why, in words for the log. */; readonly why: string };

/** A backend that went up or down by an observation. */
export interface Transition {
  readonly backend: Backend;
  readonly up: boolean;
  /** It is the first that was ever observed of this backend. */
  readonly first: boolean;
}

/** One observation of a backend, made at a monotonic time in milliseconds. */
export const observed = (
  pool: Pool,
  backend: Backend,
  observation: Observation,
  at: number,
): readonly [Pool, Transition | undefined] => {
  const now = current(pool, backend);
  if (now === undefined) return [pool, undefined];
  const health = Health.observe(now.health, observation.succeeded, pool.thresholds);
  const first = !now.health.checked;
  const changed = first || health.up !== now.health.up;
  const why = observation.succeeded ? undefined : observation.why;
  const seen = changed ? { lastCheck: at, since: at, why } : { ...now.seen, lastCheck: at };
  const after = having(now, now.connections, health, seen);
  const unchecked = pool.unchecked - (first && !now.leaving ? 1 : 0);
  return [
    holding(pool, Roster.replace(pool.roster, after), pool.algorithm, unchecked, pool.connections),
    changed ? { backend: after, up: health.up, first } : undefined,
  ];
};

/**
 * Chooses a backend for a client and counts the connection on it, in one step: whoever chooses next already
 * sees it. `tried` are backends that this connection was assigned to before, to be passed over.
 * The connection is to be {@link released} when it has ended, or when connecting failed.
 */
export const assigned = (
  pool: Pool,
  client: Client,
  tried: ReadonlyArray<Backend>,
): readonly [Pool, Backend | undefined] => {
  let roster = pool.roster;
  for (const backend of tried) {
    const now = current(pool, backend);
    if (now?.eligible) roster = Roster.replace(roster, { ...now, eligible: false });
  }
  const choice = pool.algorithm.choose(roster, client);
  const chosen = choice === undefined ? undefined : Roster.get(pool.roster, choice.slot);
  if (choice === undefined || chosen === undefined) return [pool, undefined];
  const backend = having(chosen, chosen.connections + 1, chosen.health, chosen.seen);
  const counted = Roster.replace(pool.roster, backend);
  return [holding(pool, counted, choice.next, pool.unchecked, pool.connections + 1), backend];
};

/** A connection assigned to this backend is no more. */
export const released = (pool: Pool, backend: Backend): Pool => {
  const now = current(pool, backend);
  if (now === undefined || now.connections === 0) return pool;
  const connections = now.connections - 1;
  const roster =
    now.leaving && connections === 0
      ? Roster.remove(pool.roster, now.slot)
      : Roster.replace(pool.roster, having(now, connections, now.health, now.seen));
  return holding(pool, roster, pool.algorithm, pool.unchecked, pool.connections - 1);
};

/**
 * An operator chooses what becomes of the listed backend with this id; undefined when there is none. The choice
 * stands until another is made, through discoveries that leave the backend out and list it again. To choose once more
 * what holds already changes nothing.
 */
export const steered = (
  pool: Pool,
  id: string,
  admin: Admin,
  by: Steered,
): readonly [Pool, { readonly backend: Backend; readonly before: Admin } | undefined] => {
  const now = backends(pool).find((backend) => backend.id === id);
  if (now === undefined) return [pool, undefined];
  const steered = now.admin === admin ? now.steered : by;
  const after = { ...now, admin, steered, eligible: takesNew(now.health, now.leaving, admin) };
  const chosen = new Map(pool.chosen);
  chosen.delete(now.key);
  if (admin !== "enabled") {
    chosen.set(now.key, { admin, steered });
    const [oldest] = chosen.keys();
    if (chosen.size > mostChosen && oldest !== undefined) chosen.delete(oldest);
  }
  return [
    { ...pool, chosen, roster: Roster.replace(pool.roster, after) },
    { backend: after, before: now.admin },
  ];
};

/** The algorithm has built what it needs for a set of eligible backends. */
export const prepared = (pool: Pool, algorithm: Algorithm): Pool => ({ ...pool, algorithm });

/** A discovery ended without a list. What was listed before stands. */
export const discoveryFailed = (pool: Pool, why: string): Pool =>
  pool.phase === "starting" ? { ...pool, notListed: why } : pool;
