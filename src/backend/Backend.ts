/**
 * A backend: what discovery says of it, and what the balancer has seen of it.
 */
import type { Candidate } from "../balancing/Roster.js";
import { format, type SocketAddress } from "../net/SocketAddress.js";
import type { Health } from "./Health.js";

/** What discovery says: something runs at this address. */
export interface Instance {
  /** Its own among all that are listed. An address of a host name has `name:port@address`, as in `web:80@10.0.0.5`. */
  readonly id: string;
  /** What the addresses of one host name have in common, `name:port`: steering accepts it for all of them. */
  readonly name?: string | undefined;
  /** An IP address, not a name: resolving is part of discovering. */
  readonly address: SocketAddress;
}

/** What an operator has chosen for a backend, whatever its health. */
export type Admin =
  /** Normal: it takes new connections while it is healthy. */
  | "enabled"
  /** Finishing: no new connections, those it has run on. */
  | "draining"
  /** Cut: no new connections, those it had were reset. */
  | "disabled";

/** When an operator chose that, in monotonic milliseconds, and who it was. */
export interface Steered {
  readonly at: number;
  readonly by: string;
}

/** When and what was last seen of a backend. Times are monotonic, in milliseconds. */
export interface Seen {
  /** When a probe or a connect last told something about it; undefined before the first. */
  readonly lastCheck: number | undefined;
  /** When it last went up or down; undefined while nothing is known of it. */
  readonly since: number | undefined;
  /** Why it is down; undefined while it is up, and while nothing is known of it. */
  readonly why: string | undefined;
}

export interface Backend extends Instance, Candidate {
  readonly health: Health;
  /** It is no longer discovered: it gets no new connection and goes once those it has have ended. */
  readonly leaving: boolean;
  readonly seen: Seen;
  readonly admin: Admin;
  /** Of the choice that holds; undefined before the first. */
  readonly steered: Steered | undefined;
}

/**
 * Since when it is what it is: up or down, or what an operator has chosen. In monotonic milliseconds; undefined while
 * nothing is known of it.
 */
export const since = ({ admin, seen, steered }: Backend): number | undefined => {
  if (steered === undefined) return seen.since;
  return admin === "enabled" ? Math.max(steered.at, seen.since ?? steered.at) : steered.at;
};

/**
 * Identity is id and address together: an id that comes back with another address is another backend.
 * The separator cannot stand in an address, so no two pairs share a key.
 */
export const keyOf = (instance: Instance): string => `${format(instance.address)} ${instance.id}`;

/** `id (address)`, as messages name it. */
export const describe = (instance: Instance): string => `${instance.id} (${format(instance.address)})`;
