/**
 * The pool: an immutable value, and everything that can happen to it as a pure function.
 *
 * What is cold (id, address, health, steering: `members`) stands apart from what is hot (connections, what the
 * algorithm remembers, results of probes): a connection changes the hot part alone. Nothing here knows of Effect,
 * clocks or sockets. {@link BackendRegistry} holds the one pool of a balancer.
 */
import { type Algorithm, type Client, choose, type Prepared } from "../balancing/Algorithm.js";
import * as Load from "../balancing/Load.js";
import * as Members from "../balancing/Members.js";
import * as PersistentVector from "../balancing/PersistentVector.js";
import { format } from "../net/SocketAddress.js";
import {
  type Admin,
  type Backend,
  type Instance,
  partOfWeight,
  type Steered,
  slowStartSteps,
  wholeWeight,
} from "./Backend.js";
import * as Health from "./Health.js";
import * as Listing from "./Listing.js";

export type { Block, Chunk, PersistentVector } from "../balancing/PersistentVector.js";
export type { Alteration, Arrival, InvalidInstance } from "./Listing.js";

/**
 * `starting` until discovery has listed once.
 *
 * @since 0.2.0
 * @category models
 */
export type Phase = "starting" | "serving";

/**
 * @since 0.2.0
 * @category models
 */
export interface Pool {
  /** Every backend that is known. The same value until something in it changes. */
  readonly members: Members.Members<Backend>;
  readonly algorithm: Algorithm;
  readonly thresholds: Health.Thresholds;
  readonly phase: Phase;
  /** Why discovery has not listed yet; undefined before it has failed once, and from the first list on. */
  readonly notListed: string | undefined;
  /** Backends that discovery lists: those that are not leaving. */
  readonly listed: number;
  /** Listed backends that no probe and no connect has said anything about yet. */
  readonly unchecked: number;
  /** What an operator has chosen, by the key of the backend: it holds when the backend leaves and comes back. */
  readonly chosen: ReadonlyMap<string, Pick<Backend, "admin" | "steered" | "chosenWeight">>;
  /** Incarnations given out so far. */
  readonly incarnations: number;
  /** How many lists so far changed which backends are listed. */
  readonly lists: number;
  /** The most connections of a backend of which discovery says nothing else; Infinity is none. */
  readonly limit: number;
  /** Whether a backend that comes up begins with a tenth of its weight. */
  readonly slowStart: boolean;
  /** The incarnations up to this one are of the first list; Infinity before that. */
  readonly firstIncarnations: number;

  /** Hot: connections of the primary backends by slot, and which of them can take one more. */
  readonly load: Load.Load;
  /** Hot: the same of the backups, which are chosen from while no primary backend is eligible. */
  readonly standby: Load.Load;
  /** Hot: what the algorithm remembers. */
  readonly state: unknown;
  /** Hot: the last results by slot. */
  readonly runs: PersistentVector.PersistentVector<Health.Run>;
  /** Hot: backends that are up, and of which the last result was a failure. */
  readonly failing: number;
  /** Hot: connections assigned and not yet released, those of leaving backends included. */
  readonly connections: number;
}

/**
 * What an operator has chosen for a backend, by its key.
 *
 * @since 0.2.0
 * @category models
 */
export interface Choice extends Pick<Backend, "admin" | "steered" | "chosenWeight"> {
  readonly key: string;
}

const notSteered = { admin: "enabled", steered: undefined, chosenWeight: undefined } as const;

/**
 * The most choices of operators that are kept, the newest. They outlive their backends, so they need a bound of their own.
 *
 * @since 0.2.0
 * @category constants
 */
export const mostChosen = 10_000;

/**
 * A pool without backends. `limit` is the most connections of a backend of which discovery says nothing else. With
 * `slowStart` a backend that comes up begins with a tenth of its weight, and is to be {@link raised} from there.
 *
 * @since 0.2.0
 * @category constructors
 */
export const make = (
  algorithm: Algorithm,
  thresholds: Health.Thresholds,
  limit = Infinity,
  slowStart = false,
): Pool => ({
  members: Members.empty,
  algorithm,
  thresholds,
  phase: "starting",
  notListed: undefined,
  listed: 0,
  unchecked: 0,
  chosen: new Map(),
  incarnations: 0,
  lists: 0,
  limit,
  slowStart,
  firstIncarnations: Infinity,
  load: Load.empty,
  standby: Load.empty,
  state: algorithm.initial,
  runs: PersistentVector.empty,
  failing: 0,
  connections: 0,
});

/**
 * How many listed backends are up and enabled, and of a weight above 0: the backups too, be they in service or not.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { BackendRegistry, Pool } from "zeitwork-load-balancer"
 *
 * const busiest = Effect.gen(function* () {
 *   const pool = yield* Effect.flatMap(BackendRegistry.BackendRegistry, (registry) => registry.pool)
 *   return Math.max(0, ...Pool.backends(pool).map((backend) => Pool.connections(pool, backend)))
 * })
 * ```
 *
 * @since 0.2.0
 * @category getters
 */
export const healthy = (pool: Pool): number => pool.members.eligible;

/**
 * Every listed backend, in the order of slots: each keeps its place for as long as it is known. Takes time in
 * proportion to their number.
 *
 * @since 0.2.0
 * @category getters
 */
export const backends = (pool: Pool): ReadonlyArray<Backend> =>
  Members.toArray(pool.members).filter(({ leaving }) => !leaving);

/**
 * The same one by one, for callers that work in slices.
 *
 * @since 0.2.0
 * @category getters
 */
export function* iterate({ members }: Pool): Generator<Backend, void> {
  for (const backend of PersistentVector.iterate(members.slots)) if (!backend.leaving) yield backend;
}

/**
 * The backend as it is now; undefined once it has gone, even if another one sits in its slot.
 *
 * @since 0.2.0
 * @category getters
 */
export const current = (pool: Pool, { incarnation, slot }: Backend): Backend | undefined => {
  const now = Members.get(pool.members, slot);
  return now?.incarnation === incarnation ? now : undefined;
};

// Where the connections of a backend are counted.
const loadOf = (pool: Pool, { role }: Backend): Load.Load => (role === "backup" ? pool.standby : pool.load);

// Where connections are given to.
const inService = ({ load, members, standby }: Pool): Load.Load => (members.primaries > 0 ? load : standby);

// Of a backend as it is now.
const countOf = (pool: Pool, backend: Backend): number =>
  Load.connections(loadOf(pool, backend), backend.slot);

/**
 * Connections assigned to the backend and not yet released; 0 once it has gone.
 *
 * @since 0.2.0
 * @category getters
 */
export const connections = (pool: Pool, backend: Backend): number => {
  const now = current(pool, backend);
  return now === undefined ? 0 : countOf(pool, now);
};

const runOf = (pool: Pool, slot: number): Health.Run => PersistentVector.get(pool.runs, slot) ?? Health.noRun;

/**
 * When a probe or a connect last said something about the backend, in monotonic milliseconds; undefined before the
 * first.
 *
 * @since 0.2.0
 * @category getters
 */
export const lastCheck = (pool: Pool, backend: Backend): number | undefined =>
  current(pool, backend) === undefined ? undefined : runOf(pool, backend.slot).lastCheck;

// The load with `connections` connections for a backend: open or not, as they and the backend say.
const withConnections = (load: Load.Load, backend: Backend, count: number): Load.Load =>
  Load.set(load, backend.slot, count, backend.eligible && count < backend.limit, backend.weight);

const vacated = (load: Load.Load, slot: number): Load.Load => Load.set(load, slot, 0, false, 1);

// The pool with another value for a backend that is in it.
const withBackend = (pool: Pool, backend: Backend): Pool => {
  const before = Members.get(pool.members, backend.slot) ?? backend;
  const members = Members.replace(pool.members, backend);
  const count = countOf(pool, before);
  const isOpen = backend.eligible && count < backend.limit;
  const same =
    backend.role === before.role &&
    backend.weight === before.weight &&
    isOpen === Load.isOpen(loadOf(pool, backend), backend.slot);
  if (same) return { ...pool, members };
  if (backend.role === "primary") {
    const standby = before.role === "primary" ? pool.standby : vacated(pool.standby, backend.slot);
    return { ...pool, members, load: withConnections(pool.load, backend, count), standby };
  }
  const load = before.role === "backup" ? pool.load : vacated(pool.load, backend.slot);
  return { ...pool, members, load, standby: withConnections(pool.standby, backend, count) };
};

// For each connection. It names every field, because spreading costs several times as much.
const withLoad = (
  pool: Pool,
  backend: Backend,
  count: number,
  state: unknown,
  connections: number,
): Pool => ({
  members: pool.members,
  algorithm: pool.algorithm,
  thresholds: pool.thresholds,
  phase: pool.phase,
  notListed: pool.notListed,
  listed: pool.listed,
  unchecked: pool.unchecked,
  chosen: pool.chosen,
  incarnations: pool.incarnations,
  lists: pool.lists,
  limit: pool.limit,
  slowStart: pool.slowStart,
  firstIncarnations: pool.firstIncarnations,
  load: backend.role === "primary" ? withConnections(pool.load, backend, count) : pool.load,
  standby: backend.role === "backup" ? withConnections(pool.standby, backend, count) : pool.standby,
  state,
  runs: pool.runs,
  failing: pool.failing,
  connections,
});

const isFailing = (health: Health.Health, run: Health.Run): boolean => health.up && run.against > 0;

// The pool without what it knows of a slot.
const withoutBackend = (pool: Pool, { health, role, slot }: Backend): Pool => ({
  ...pool,
  members: Members.remove(pool.members, slot),
  load: role === "primary" ? vacated(pool.load, slot) : pool.load,
  standby: role === "backup" ? vacated(pool.standby, slot) : pool.standby,
  runs: PersistentVector.set(pool.runs, slot, undefined),
  failing: pool.failing - (isFailing(health, runOf(pool, slot)) ? 1 : 0),
});

// Whether it may get new connections, and its weight, follow from the rest.
const settled = (backend: Backend): Backend => {
  const { admin, health, leaving, slowStart } = backend;
  const whole = wholeWeight(backend);
  const weight = slowStart === undefined ? whole : partOfWeight(whole, slowStart);
  return { ...backend, weight, eligible: health.up && !leaving && admin === "enabled" && weight > 0 };
};

const withNew = (pool: Pool, instance: Instance, key: string): readonly [Pool, Backend] => {
  const { address, id, name } = instance;
  const incarnation = pool.incarnations + 1;
  const slot = Members.vacant(pool.members);
  const { admin, chosenWeight, steered } = pool.chosen.get(key) ?? notSteered;
  const { limit, listedWeight, role } = Listing.termsOf(instance, pool.limit);
  // Field by field: put together of several objects it would take four times as long, and a list has many thousands.
  const backend: Backend = {
    id,
    name,
    address,
    key,
    endpoint: format(address),
    slot,
    incarnation,
    weight: chosenWeight?.weight ?? listedWeight,
    listedWeight,
    chosenWeight,
    limit,
    role,
    eligible: false,
    health: Health.unknown,
    leaving: false,
    admin,
    steered,
    slowStart: undefined,
  };
  const members = Members.insert(pool.members, backend);
  return [
    {
      ...pool,
      members,
      incarnations: incarnation,
      listed: pool.listed + 1,
      unchecked: pool.unchecked + 1,
    },
    backend,
  ];
};

/**
 * Discovery lists these from now on, too. One that comes back while it leaves keeps its health and its connections.
 *
 * @since 0.2.0
 * @category transitions
 */
export const added = (
  pool: Pool,
  arrivals: ReadonlyArray<Listing.Arrival>,
): readonly [Pool, ReadonlyArray<Backend>] => {
  const backends: Array<Backend> = [];
  let after = pool;
  for (const { instance, key, leaving } of arrivals) {
    const now = leaving === undefined ? undefined : current(after, leaving);
    if (now === undefined) {
      const [listed, backend] = withNew(after, instance, key);
      after = listed;
      backends.push(backend);
    } else if (now.leaving) {
      const back = settled({ ...now, ...Listing.termsOf(instance, pool.limit), leaving: false });
      after = {
        ...withBackend(after, back),
        listed: after.listed + 1,
        unchecked: after.unchecked + (now.health.checked ? 0 : 1),
      };
      backends.push(back);
    }
  }
  return [after, backends];
};

/**
 * Discovery lists these no longer. One without connections goes at once, the others with their last one. Returns those
 * that were listed, as they were.
 *
 * @since 0.2.0
 * @category transitions
 */
export const removed = (
  pool: Pool,
  departures: ReadonlyArray<Backend>,
): readonly [Pool, ReadonlyArray<Backend>] => {
  const backends: Array<Backend> = [];
  let after = pool;
  for (const departure of departures) {
    const now = current(after, departure);
    if (now === undefined || now.leaving) continue;
    backends.push(now);
    const rest =
      countOf(after, now) === 0
        ? withoutBackend(after, now)
        : withBackend(after, settled({ ...now, leaving: true }));
    after = {
      ...rest,
      listed: after.listed - 1,
      unchecked: after.unchecked - (now.health.checked ? 0 : 1),
    };
  }
  return [after, backends];
};

/**
 * Discovery says something else of these than before: another weight, limit or role. Returns them as they are then.
 *
 * @since 0.2.0
 * @category transitions
 */
export const altered = (
  pool: Pool,
  alterations: ReadonlyArray<Listing.Alteration>,
): readonly [Pool, ReadonlyArray<Backend>] => {
  const backends: Array<Backend> = [];
  let after = pool;
  for (const { backend, instance } of alterations) {
    const now = current(after, backend);
    if (now === undefined || now.leaving) continue;
    const other = settled({ ...now, ...Listing.termsOf(instance, pool.limit) });
    after = withBackend(after, other);
    backends.push(other);
  }
  return [after, backends];
};

/**
 * A list has changed which backends are listed.
 *
 * @since 0.2.0
 * @category transitions
 */
export const relisted = (pool: Pool): Pool => ({ ...pool, lists: pool.lists + 1 });

/**
 * Discovery has listed. The pool serves from the first list on, however many backends that has.
 *
 * @since 0.2.0
 * @category transitions
 */
export const serving = (pool: Pool): Pool =>
  pool.phase === "starting"
    ? { ...pool, phase: "serving", notListed: undefined, firstIncarnations: pool.incarnations }
    : pool;

/**
 * What a list has changed.
 *
 * @since 0.2.0
 * @category models
 */
export interface DiscoveryChange {
  readonly added: ReadonlyArray<Backend>;
  readonly removed: ReadonlyArray<Backend>;
  /** Those of which it says something else, as they are now. */
  readonly altered: ReadonlyArray<Backend>;
  readonly invalid: ReadonlyArray<Listing.InvalidInstance>;
}

/**
 * Discovery lists exactly these. A backend that stays keeps its health, its connections and its last check; one that is
 * gone leaves at once if it has no connections, and otherwise with its last one. Of instances with the same id and
 * address the first counts; those that cannot be a backend are left out.
 *
 * All of it in one go: the registry does the same in slices.
 *
 * @since 0.2.0
 * @category transitions
 */
export const discovered = (
  pool: Pool,
  instances: ReadonlyArray<Instance>,
): readonly [Pool, DiscoveryChange] => {
  const slices = Listing.compare(pool.members, instances, pool.limit);
  let slice = slices.next();
  while (slice.done !== true) slice = slices.next();
  const { alterations, arrivals, departures, invalid } = slice.value;
  const [more, come] = added(pool, arrivals);
  const [others, changed] = altered(more, alterations);
  const [rest, gone] = removed(others, departures);
  const same = come.length + gone.length === 0;
  return [serving(same ? rest : relisted(rest)), { added: come, removed: gone, altered: changed, invalid }];
};

// The slow start of a backend of which something else is believed from now on. Those of the first list have served
// before, as far as anybody knows: their first check begins none.
const slowStartOf = (pool: Pool, before: Backend, health: Health.Health): number | undefined => {
  if (!pool.slowStart || !health.up) return undefined;
  if (before.health.up) return before.slowStart;
  return !before.health.checked && before.incarnation <= pool.firstIncarnations ? undefined : 1;
};

/**
 * Of these, each that is in a slow start has one tenth more of its weight from now on. Returns them as they are then.
 *
 * @since 0.2.0
 * @category transitions
 */
export const raised = (
  pool: Pool,
  backends: ReadonlyArray<Backend>,
): readonly [Pool, ReadonlyArray<Backend>] => {
  const changed: Array<Backend> = [];
  let after = pool;
  for (const backend of backends) {
    const now = current(after, backend);
    if (now?.slowStart === undefined) continue;
    const tenths = now.slowStart + 1;
    const more = settled({ ...now, slowStart: tenths < slowStartSteps ? tenths : undefined });
    after = withBackend(after, more);
    changed.push(more);
  }
  return [after, changed];
};

/**
 * A backend that went up or down by an observation, or is down for another reason than before.
 *
 * @since 0.2.0
 * @category models
 */
export interface Transition {
  readonly backend: Backend;
  /** It is the first that was ever observed of this backend. */
  readonly first: boolean;
}

/**
 * One observation of a backend, which became known at a monotonic time in milliseconds.
 *
 * @since 0.2.0
 * @category transitions
 */
export const observed = (
  pool: Pool,
  backend: Backend,
  observation: Health.Observation,
  at: number,
): readonly [Pool, Transition | undefined] => {
  const now = current(pool, backend);
  if (now === undefined) return [pool, undefined];
  const run = runOf(pool, now.slot);
  const isLastHealthy = now.eligible && pool.members.eligible === 1;
  const [health, next] = Health.observe(now.health, run, observation, at, pool.thresholds, isLastHealthy);
  const counted: Pool =
    next === run
      ? pool
      : {
          ...pool,
          runs: PersistentVector.set(pool.runs, now.slot, next),
          failing: pool.failing + (isFailing(health, next) ? 1 : 0) - (isFailing(now.health, run) ? 1 : 0),
        };
  if (health === now.health) return [counted, undefined];
  const after = settled({ ...now, health, slowStart: slowStartOf(pool, now, health) });
  const first = !now.health.checked;
  return [
    {
      ...withBackend(counted, after),
      unchecked: counted.unchecked - (first && !now.leaving ? 1 : 0),
    },
    { backend: after, first },
  ];
};

/**
 * The connect of a client's connection succeeded, at a monotonic time in milliseconds: that ends a run of failures. The
 * same pool where there was none.
 *
 * @since 0.2.0
 * @category transitions
 */
export const connected = (pool: Pool, backend: Backend, at: number): Pool => {
  const now = current(pool, backend);
  return now === undefined || !isFailing(now.health, runOf(pool, now.slot))
    ? pool
    : observed(pool, now, { by: "client", began: at, failure: undefined }, at)[0];
};

/**
 * A backend that a connection was assigned to.
 *
 * @since 0.2.0
 * @category models
 */
export interface Assignment {
  readonly backend: Backend;
  /** Connections that it has now, this one included. */
  readonly connections: number;
}

/**
 * Chooses a backend for a client and counts the connection on it, in one step: the next choice already sees it. `tried`
 * are backends that this connection was assigned to before, to be passed over. The connection is to be {@link released}
 * when it has ended, or when connecting failed.
 *
 * @since 0.2.0
 * @category transitions
 */
export const assigned = (
  pool: Pool,
  client: Client,
  tried: ReadonlyArray<Backend>,
): readonly [Pool, Assignment | undefined] => {
  let load = inService(pool);
  for (const { incarnation, slot } of tried) {
    if (Members.get(pool.members, slot)?.incarnation === incarnation) {
      load = Load.set(load, slot, Load.connections(load, slot), false);
    }
  }
  const choice = choose(pool.algorithm, pool.members, load, pool.state, client);
  const backend = choice === undefined ? undefined : Members.get(pool.members, choice.slot);
  if (choice === undefined || backend === undefined) return [pool, undefined];
  const count = countOf(pool, backend) + 1;
  return [
    withLoad(pool, backend, count, choice.state, pool.connections + 1),
    { backend, connections: count },
  ];
};

/**
 * Whether a backend that the client has not tried can take a connection now.
 *
 * @since 0.2.0
 * @category getters
 */
export const hasPlace = (pool: Pool, tried: ReadonlyArray<Backend>): boolean => {
  const load = inService(pool);
  let { open } = load;
  for (const backend of tried) {
    if (Load.isOpen(load, backend.slot) && current(pool, backend) !== undefined) open -= 1;
  }
  return open > 0;
};

/**
 * Whether the client may wait for a place: a backend that it has not tried is healthy and in service, full or not.
 *
 * @since 0.2.0
 * @category getters
 */
export const mayWait = (pool: Pool, tried: ReadonlyArray<Backend>): boolean => {
  const { eligible, primaries } = pool.members;
  const role = Members.roleInService(pool.members);
  let others = role === "primary" ? primaries : eligible;
  for (const backend of tried) {
    const now = current(pool, backend);
    if (now?.eligible === true && now.role === role) others -= 1;
  }
  return others > 0;
};

/**
 * The backend that would be chosen for the client if none were full, and the pool with the algorithm's next state;
 * undefined if the algorithm prefers no backend for a client.
 *
 * @since 0.2.0
 * @category transitions
 */
export const preferred = (pool: Pool, client: Client): readonly [Pool, Backend | undefined] => {
  const { algorithm, members, state } = pool;
  const choice = algorithm.preferred?.(members, inService(pool), state, client);
  if (choice === undefined) return [pool, undefined];
  return [
    choice.state === state ? pool : { ...pool, state: choice.state },
    Members.get(members, choice.slot),
  ];
};

/**
 * A connection that was assigned to this backend has ended.
 *
 * @since 0.2.0
 * @category transitions
 */
export const released = (pool: Pool, backend: Backend): Pool => {
  const now = current(pool, backend);
  if (now === undefined) return pool;
  const count = countOf(pool, now) - 1;
  if (count < 0) return pool;
  const after = withLoad(pool, now, count, pool.state, pool.connections - 1);
  return now.leaving && count === 0 ? withoutBackend(after, now) : after;
};

/**
 * What an operator's choice has changed.
 *
 * @since 0.2.0
 * @category models
 */
export interface SteeringChange {
  readonly backend: Backend;
  readonly before: Admin;
}

// The pool with an operator's choice for one of its backends.
const withChoice = (
  pool: Pool,
  before: Backend,
  choice: Pick<Backend, "admin" | "steered" | "chosenWeight">,
): readonly [Pool, Backend] => {
  const { admin, chosenWeight, steered } = choice;
  const backend = settled({ ...before, admin, steered, chosenWeight });
  const chosen = new Map(pool.chosen);
  chosen.delete(before.key);
  if (admin !== "enabled" || chosenWeight !== undefined) {
    chosen.set(before.key, { admin, steered, chosenWeight });
    const [oldest] = chosen.keys();
    if (chosen.size > mostChosen && oldest !== undefined) chosen.delete(oldest);
  }
  return [{ ...withBackend(pool, backend), chosen }, backend];
};

// The listed backends with this id, or with this name.
const called = (pool: Pool, idOrName: string): ReadonlyArray<Backend> =>
  backends(pool).filter(({ id, name }) => id === idOrName || name === idOrName);

/**
 * An operator chooses what becomes of the listed backends with this id, or with this name; none where there is no such
 * one. The choice stands until another is made, through discoveries that leave the backends out and list them again. To
 * choose once more what holds already changes nothing.
 *
 * @since 0.2.0
 * @category transitions
 */
export const steered = (
  pool: Pool,
  idOrName: string,
  admin: Admin,
  by: Steered,
): readonly [Pool, ReadonlyArray<SteeringChange>] => {
  const changes: Array<SteeringChange> = [];
  let after = pool;
  for (const now of called(pool, idOrName)) {
    const steered = now.admin === admin ? now.steered : by;
    const [next, backend] = withChoice(after, now, { ...now, admin, steered });
    after = next;
    changes.push({ backend, before: now.admin });
  }
  return [after, changes];
};

/**
 * An operator chooses the weight of the listed backends with this id, or with this name, in place of what discovery
 * says; undefined gives that back. The choice stands as those of {@link steered} do, and to choose the same once more
 * changes nothing. Returns the backends as they are then.
 *
 * @since 0.2.0
 * @category transitions
 */
export const weighed = (
  pool: Pool,
  idOrName: string,
  weight: number | undefined,
  by: Steered,
): readonly [Pool, ReadonlyArray<Backend>] => {
  const changed: Array<Backend> = [];
  let after = pool;
  for (const now of called(pool, idOrName)) {
    const chosenWeight = weight === undefined ? undefined : { ...by, weight };
    const same = now.chosenWeight?.weight === weight;
    const [next, backend] = withChoice(after, now, same ? now : { ...now, chosenWeight });
    after = next;
    changed.push(backend);
  }
  return [after, changed];
};

/**
 * Operators chose this earlier, the oldest choice first: it holds for backends that are listed now or later, unless another
 * choice was made since.
 *
 * @since 0.2.0
 * @category transitions
 */
export const restored = (pool: Pool, choices: ReadonlyArray<Choice>): Pool => {
  const earlier = choices.filter(({ key }) => !pool.chosen.has(key));
  const kept = earlier.slice(Math.max(0, earlier.length - (mostChosen - pool.chosen.size)));
  const restored = new Map(kept.map(({ key, ...choice }) => [key, choice]));
  const after = { ...pool, chosen: new Map([...restored, ...pool.chosen]) };
  return Members.toArray(pool.members).reduce((before: Pool, backend) => {
    const choice = restored.get(backend.key);
    return choice === undefined ? before : withBackend(before, settled({ ...backend, ...choice }));
  }, after);
};

/**
 * The algorithm has built what it needs for a set of eligible backends. What it remembers beside that is kept.
 *
 * @since 0.2.0
 * @category transitions
 */
export const prepared = (pool: Pool, preparation: Prepared<unknown>): Pool => ({
  ...pool,
  state: preparation.into(pool.state),
});

/**
 * A discovery ended without a list. What was listed before stands.
 *
 * @since 0.2.0
 * @category transitions
 */
export const discoveryFailed = (pool: Pool, why: string): Pool =>
  pool.phase === "starting" ? { ...pool, notListed: why } : pool;
