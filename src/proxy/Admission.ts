/**
 * Which clients are admitted: lists of clients, and limits for each of them. It is checked before anything expensive.
 *
 * Without Effect and without a clock: each result follows from the calls before it, and their times.
 */
import type { Rate } from "../config/Settings.js";
import type { CidrSet } from "../net/CidrSet.js";
import { ClientKeys } from "./ClientKey.js";
import { ConnectionCounts } from "./ConnectionCounts.js";
import { TokenBuckets } from "./TokenBuckets.js";

/** Why a client is turned away, in the order in which that is looked at, and in words. */
export const denials = {
  denied: "this client is denied",
  "client-limit": "this client has as many connections as one may have",
  "client-rate": "this client makes more connections than one may make in that time",
} as const;

export type Denial = keyof typeof denials;

export const isDenial = (by: string): by is Denial => by in denials;

export interface Options {
  /** With it, all others are denied. */
  readonly allow?: CidrSet | undefined;
  /** It goes before `allow`. */
  readonly deny?: CidrSet | undefined;
  /** How many connections one client may have at a time. */
  readonly maxPerClient?: number | undefined;
  /** How many connections one client may make in a time. */
  readonly ratePerClient?: Rate | undefined;
}

export class Admission {
  readonly #allow: CidrSet | undefined;
  readonly #deny: CidrSet | undefined;
  readonly #counts: ConnectionCounts | undefined;
  readonly #buckets: TokenBuckets | undefined;
  readonly #keys = new ClientKeys();

  constructor({ allow, deny, maxPerClient, ratePerClient }: Options) {
    this.#allow = allow;
    this.#deny = deny;
    this.#counts = maxPerClient === undefined ? undefined : new ConnectionCounts(maxPerClient);
    this.#buckets = ratePerClient === undefined ? undefined : new TokenBuckets(ratePerClient);
  }

  /**
   * A client comes at a monotonic time, in milliseconds: why it is turned away, or undefined. One that is not is to
   * {@link leave} later; one that is turned away counts towards none of its limits.
   */
  admit(host: string, now: number): Denial | undefined {
    if (this.#deny?.has(host) === true || this.#allow?.has(host) === false) return "denied";
    const counts = this.#counts;
    const buckets = this.#buckets;
    if (counts === undefined && buckets === undefined) return undefined;
    const key = this.#keys.of(host);
    if (counts?.isFull(key) === true) return "client-limit";
    if (buckets?.take(key, now) === false) return "client-rate";
    counts?.add(key);
    return undefined;
  }

  /** Whether an address is on the deny list. */
  denies(host: string): boolean {
    return this.#deny?.has(host) === true;
  }

  /** A client that was admitted has left. */
  leave(host: string): void {
    if (this.#counts !== undefined) this.#counts.remove(this.#keys.of(host));
  }
}

/** Undefined if there are neither lists nor limits: nothing is checked then. */
export const make = (options: Options): Admission | undefined =>
  Object.values(options).every((value) => value === undefined) ? undefined : new Admission(options);
