/**
 * A token bucket for each client, for the limit of new connections per client and time. Times are arguments.
 */
import type { Rate } from "../config/Settings.js";
import type { ClientKey } from "./ClientKey.js";

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
