/**
 * The open connections of each client, for the limit of connections per client.
 */
import type { ClientKey } from "./ClientKey.js";

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
