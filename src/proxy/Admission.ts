/**
 * Which clients are admitted: lists of clients, and limits for each of them. It is checked before anything expensive.
 *
 * Without Effect and without a clock: each result follows from the calls before it, and their times.
 */
import type { Rate } from "../config/Settings.js";
import { AddressReader } from "../net/AddressReader.js";
import type { CidrSet } from "../net/CidrSet.js";

/** Why a client is turned away, in the order in which that is looked at, and in words. */
export const denials = {
  denied: "this client is denied",
  "client-limit": "this client has as many connections as one may have",
  "client-rate": "this client makes more connections than one may make in that time",
} as const;

export type Denial = keyof typeof denials;

export const isDenial = (by: string): by is Denial => by in denials;

/** What counts as one client for the limits: an IPv4 address, or the /64 of an IPv6 one. */
export type ClientKey = number | string;

export class ClientKeys {
  readonly #reader = new AddressReader();

  of(host: string): ClientKey {
    const { words } = this.#reader;
    const family = this.#reader.read(host);
    if (family === undefined) return host;
    return family === 4 ? (words[0] as number) : `${words[0]}:${words[1]}`; // four
  }
}

/** How many connections each client has. It holds no more clients than there are connections. */
export class ConnectionCounts {
  readonly #counts = new Map<ClientKey, number>();

  constructor(readonly most: number) {}

  /** Clients that have connections. */
  get size(): number {
    return this.#counts.size;
  }

  isFull(key: ClientKey): boolean {
    return (this.#counts.get(key) ?? 0) >= this.most;
  }

  add(key: ClientKey): void {
    this.#counts.set(key, (this.#counts.get(key) ?? 0) + 1);
  }

  remove(key: ClientKey): void {
    const count = this.#counts.get(key) ?? 0;
    if (count > 1) this.#counts.set(key, count - 1);
    else this.#counts.delete(key);
  }
}

/** The clients that a table of buckets has at most; the one that was not seen for the longest makes place. */
export const mostBuckets = 100_000;

/**
 * What a client has left of its rate. The buckets of a table are in the order in which their clients were last seen.
 */
class Bucket {
  older: Bucket | undefined;
  newer: Bucket | undefined;

  constructor(
    readonly key: ClientKey,
    /** In the table's units: whole numbers of milliseconds add whole numbers of them, so that nothing is rounded. */
    public credit: number,
    /** The time of this credit, in monotonic milliseconds. */
    public at: number,
  ) {}
}

/** A token bucket for each client: it holds what may come in one second or minute, and fills up at that rate. */
export class TokenBuckets {
  readonly #buckets = new Map<ClientKey, Bucket>();
  #oldest: Bucket | undefined;
  #newest: Bucket | undefined;
  /**
   * A connection costs the milliseconds of the period, and each of these brings as much as there are connections in it.
   */
  readonly #cost: number;
  readonly #perMillis: number;

  constructor(
    { count, per }: Rate,
    readonly most = mostBuckets,
  ) {
    this.#cost = per === "second" ? 1_000 : 60_000;
    this.#perMillis = count;
  }

  get #full(): number {
    return this.#cost * this.#perMillis;
  }

  /** Clients that it remembers. */
  get size(): number {
    return this.#buckets.size;
  }

  /** Takes a token for a connection at a monotonic time; false where there is none. */
  take(key: ClientKey, now: number): boolean {
    const bucket = this.#touch(key, now);
    const credit = Math.min(this.#full, bucket.credit + (now - bucket.at) * this.#perMillis);
    const enough = credit >= this.#cost;
    bucket.credit = enough ? credit - this.#cost : credit;
    bucket.at = now;
    return enough;
  }

  /** The client's bucket, which is the newest then. */
  #touch(key: ClientKey, now: number): Bucket {
    const known = this.#buckets.get(key);
    if (known !== undefined) {
      if (known !== this.#newest) {
        this.#unlink(known);
        this.#append(known);
      }
      return known;
    }
    if (this.#buckets.size >= this.most && this.#oldest !== undefined) {
      const { key: gone } = this.#oldest;
      this.#unlink(this.#oldest);
      this.#buckets.delete(gone);
    }
    const bucket = new Bucket(key, this.#full, now);
    this.#buckets.set(key, bucket);
    this.#append(bucket);
    return bucket;
  }

  #unlink(bucket: Bucket): void {
    const { newer, older } = bucket;
    if (older === undefined) this.#oldest = newer;
    else older.newer = newer;
    if (newer === undefined) this.#newest = older;
    else newer.older = older;
    bucket.older = undefined;
    bucket.newer = undefined;
  }

  #append(bucket: Bucket): void {
    bucket.older = this.#newest;
    if (this.#newest === undefined) this.#oldest = bucket;
    else this.#newest.newer = bucket;
    this.#newest = bucket;
  }
}

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
