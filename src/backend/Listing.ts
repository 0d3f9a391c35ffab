/**
 * What a list of instances changes in a pool. Pure; in slices, because a list may have many thousands of entries.
 */
import { limitBounds, type Members, weightBounds } from "../balancing/Members.js";
import * as PersistentVector from "../balancing/PersistentVector.js";
import { isUnspecified } from "../net/IpAddress.js";
import { isIpAddress } from "../net/SocketAddress.js";
import { type Backend, type Instance, keyOf } from "./Backend.js";

/** What instances are held to. */
export { limitBounds, weightBounds };

/**
 * An instance that cannot be a backend. The others stand.
 *
 * @since 0.2.0
 * @category models
 */
export interface InvalidInstance {
  readonly instance: Instance;
  /** The first field that is wrong. */
  readonly field: "id" | "name" | "host" | "port" | "weight" | "limit" | "role";
  /** What is wrong with it, in words that can end a sentence. */
  readonly why: string;
}

/**
 * An instance that is to be listed from now on, and the leaving backend that it comes back to.
 *
 * @since 0.2.0
 * @category models
 */
export interface Arrival {
  readonly instance: Instance;
  readonly key: string;
  readonly leaving: Backend | undefined;
}

/**
 * A listed backend of which the list says something else than before.
 *
 * @since 0.2.0
 * @category models
 */
export interface Alteration {
  readonly instance: Instance;
  readonly backend: Backend;
}

/** What a list changes. */
export interface Changes {
  readonly arrivals: ReadonlyArray<Arrival>;
  /** Backends that are listed and shall not be any more. */
  readonly departures: ReadonlyArray<Backend>;
  readonly alterations: ReadonlyArray<Alteration>;
  readonly invalid: ReadonlyArray<InvalidInstance>;
}

/** The longest id, in UTF-16 code units. */
export const longestId = 255;

// A host name has up to 253 characters; a colon and a port follow it.
const longestName = 259;

// Control characters (the general category Cc), and what breaks lines or reorders text where it is shown.
const unprintable = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/u;

// An IPv6 address has up to 45 characters, and its zone up to 15 more behind a percent sign (IFNAMSIZ of Linux).
const longestHost = 61;

// The types guarantee it, but instances may come from a Discovery from outside.
const problemOfText = (text: unknown, longest: number): string | undefined => {
  if (typeof text !== "string" || text === "") return "it is not a text of at least one character";
  if (text.length > longest) return `it is longer than ${longest} characters`;
  return unprintable.test(text) ? "it has characters that cannot be printed" : undefined;
};

// A connect to the unspecified address reaches this host, so it is no backend's address.
const problemOfHost = (host: unknown): string | undefined => {
  if (typeof host !== "string" || host.length > longestHost || !isIpAddress(host))
    return `${JSON.stringify(String(host).slice(0, longestHost))} is not an IP address`;
  return isUnspecified(host) ? `${host} is the unspecified address` : undefined;
};

const portBounds = { least: 1, most: 65_535 };

const problemOfNumber = (
  value: unknown,
  { least, most }: { readonly least: number; readonly most: number },
): string | undefined =>
  typeof value === "number" && Number.isInteger(value) && value >= least && value <= most
    ? undefined
    : `${String(value).slice(0, longestHost)} is not a whole number from ${least} to ${most}`;

const problemOfRole = (role: unknown): string | undefined =>
  role === undefined || role === "primary" || role === "backup"
    ? undefined
    : `${String(role).slice(0, longestHost)} is neither primary nor backup`;

/** Why an instance cannot be a backend; undefined if it can. */
export const problemOf = (instance: Instance): Pick<InvalidInstance, "field" | "why"> | undefined => {
  const { address, id, limit, name, weight } = instance;
  const ofId = problemOfText(id, longestId);
  if (ofId !== undefined) return { field: "id", why: ofId };
  const ofName = name === undefined ? undefined : problemOfText(name, longestName);
  if (ofName !== undefined) return { field: "name", why: ofName };
  const ofHost = problemOfHost(address.host);
  if (ofHost !== undefined) return { field: "host", why: ofHost };
  const ofPort = problemOfNumber(address.port, portBounds);
  if (ofPort !== undefined) return { field: "port", why: ofPort };
  const ofWeight = weight === undefined ? undefined : problemOfNumber(weight, weightBounds);
  if (ofWeight !== undefined) return { field: "weight", why: ofWeight };
  const ofLimit = limit === undefined ? undefined : problemOfNumber(limit, limitBounds);
  if (ofLimit !== undefined) return { field: "limit", why: ofLimit };
  const ofRole = problemOfRole(instance.role);
  return ofRole === undefined ? undefined : { field: "role", why: ofRole };
};

/** Entries that are looked at in one step. */
const entriesInAStep = 32;

/** Weight, limit and role of an instance, with defaults applied. */
export const termsOf = ({ limit, role, weight }: Instance, limitOfOthers: number) => ({
  listedWeight: weight ?? 1,
  limit: limit ?? limitOfOthers,
  role: role ?? ("primary" as const),
});

/**
 * The diff of the pool against a complete list. Of instances with the same id and address the first counts. Yields
 * between steps; meanwhile the pool may change in everything except which backends are listed.
 */
export const compare = function* (
  members: Members<Backend>,
  instances: ReadonlyArray<Instance>,
  limitOfOthers: number,
): Generator<void, Changes> {
  const unseen = new Map<string, Backend>();
  for (const values of PersistentVector.chunks(members.slots)) {
    yield;
    for (const backend of values) if (backend !== undefined) unseen.set(backend.key, backend);
  }
  const seen = new Set<string>();
  const arrivals: Array<Arrival> = [];
  const invalid: Array<InvalidInstance> = [];
  const alterations: Array<Alteration> = [];
  for (const [i, instance] of instances.entries()) {
    if (i % entriesInAStep === entriesInAStep - 1) yield;
    const problem = problemOf(instance);
    if (problem !== undefined) {
      invalid.push({ instance, ...problem });
      continue;
    }
    const key = keyOf(instance);
    if (seen.has(key)) continue;
    seen.add(key);
    const known = unseen.get(key);
    unseen.delete(key);
    if (known === undefined || known.leaving) {
      arrivals.push({ instance, key, leaving: known });
      continue;
    }
    const { limit, listedWeight, role } = termsOf(instance, limitOfOthers);
    if (limit !== known.limit || listedWeight !== known.listedWeight || role !== known.role) {
      alterations.push({ instance, backend: known });
    }
  }
  const departures: Array<Backend> = [];
  for (const backend of unseen.values()) if (!backend.leaving) departures.push(backend);
  return { arrivals, departures, alterations, invalid };
};
