/**
 * A backend: what discovery says of it, and what the balancer has seen of it.
 */
import type { Member, Role } from "../balancing/Members.js";
import { format, type SocketAddress } from "../net/SocketAddress.js";
import type { Health } from "./Health.js";

/**
 * What discovery says: something runs at this address.
 *
 * @since 0.2.0
 * @category models
 */
export interface Instance {
  /** Its own among all that are listed. An address of a host name has `name:port@address`, as in `web:80@10.0.0.5`. */
  readonly id: string;
  /** What the addresses of one host name have in common, `name:port`: steering accepts it for all of them. */
  readonly name?: string | undefined;
  /** An IP address, not a name: resolving is part of discovering. */
  readonly address: SocketAddress;
  /**
   * Its share of the connections, relative to the others: a whole number from 0 to 256, 1 unless said otherwise. With 0
   * it gets no new connections.
   */
  readonly weight?: number | undefined;
  /**
   * The most connections it may have at a time: 1 to 1,000,000; as the registry's `maxConnections` unless said
   * otherwise.
   */
  readonly limit?: number | undefined;
  /** A `backup` gets connections only while no primary one can; `primary` unless said otherwise. */
  readonly role?: Role | undefined;
}

/**
 * What an operator has chosen for a backend, whatever its health.
 *
 * @since 0.2.0
 * @category models
 */
export type Admin =
  /** Normal: it takes new connections while it is healthy. */
  | "enabled"
  /** Finishing: no new connections, those it has run on. */
  | "draining"
  /** Cut: no new connections, those it had were reset. */
  | "disabled";

/**
 * When an operator chose that, in monotonic milliseconds, and who it was.
 *
 * @since 0.2.0
 * @category models
 */
export interface Steered {
  readonly at: number;
  readonly by: string;
}

/**
 * The weight that an operator chose, when and by whom.
 *
 * @since 0.2.0
 * @category models
 */
export interface ChosenWeight extends Steered {
  readonly weight: number;
}

/**
 * A backend of the pool. It changes rarely: its connections and its last check, which change all the time, are asked of
 * the pool (`Pool.connections`, `Pool.lastCheck`).
 *
 * @since 0.2.0
 * @category models
 */
export interface Backend extends Instance, Member {
  /** What holds now: what discovery or an operator says, and a part of that during a slow start. */
  readonly weight: number;
  readonly limit: number;
  readonly role: Role;
  /** The weight that discovery says. */
  readonly listedWeight: number;
  /** The weight that an operator has chosen in place of it; undefined while none is chosen. */
  readonly chosenWeight: ChosenWeight | undefined;
  /** Tells two backends apart that had the same slot one after the other, also where id and address are the same. */
  readonly incarnation: number;
  readonly health: Health;
  /** It is no longer discovered: it gets no new connection and goes once those it has have ended. */
  readonly leaving: boolean;
  readonly admin: Admin;
  /** Of the choice that holds; undefined before the first. */
  readonly steered: Steered | undefined;
  /** The tenths of its weight that it has during a slow start, 1 to 9; undefined while it has all of it. */
  readonly slowStart: number | undefined;
}

/**
 * The tenths of a whole weight: a slow start begins at one of them, and ends when it has all.
 *
 * @since 0.2.0
 * @category constants
 */
export const slowStartSteps = 10;

/**
 * So many tenths of a whole weight. From 10 on it is rounded to a whole number: weights are few then, and an algorithm may
 * keep a list of them, however many backends are in a slow start.
 *
 * @since 0.2.0
 * @category accessors
 */
export const partOfWeight = (whole: number, tenths: number): number => {
  const part = (whole * tenths) / slowStartSteps;
  return part < 10 ? part : Math.round(part);
};

/**
 * The weight that discovery or an operator says, whether the backend is in a slow start or not.
 *
 * @since 0.2.0
 * @category accessors
 */
export const wholeWeight = ({
  chosenWeight,
  listedWeight,
}: Pick<Backend, "chosenWeight" | "listedWeight">): number => chosenWeight?.weight ?? listedWeight;

/**
 * Since when it is what it is: up or down, or what an operator has chosen. In monotonic milliseconds; undefined while
 * nothing is known of it.
 *
 * @since 0.2.0
 * @category accessors
 */
export const since = ({ admin, health, steered }: Backend): number | undefined => {
  if (steered === undefined) return health.since;
  return admin === "enabled" ? Math.max(steered.at, health.since ?? steered.at) : steered.at;
};

/**
 * Identity is id and address together: an id that comes back with another address is another backend.
 * The separator cannot stand in an address, so no two pairs share a key.
 *
 * @since 0.2.0
 * @category accessors
 */
export const keyOf = (instance: Instance): string => `${format(instance.address)} ${instance.id}`;

/**
 * `id (address)`, as messages name it.
 *
 * @example
 * ```ts
 * import { Backend } from "zeitwork-load-balancer"
 *
 * Backend.describe({ id: "web-1", address: { host: "10.0.0.1", port: 80 } }) // "web-1 (10.0.0.1:80)"
 * ```
 *
 * @since 0.2.0
 * @category accessors
 */
export const describe = (instance: Instance): string => `${instance.id} (${format(instance.address)})`;
