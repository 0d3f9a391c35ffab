/**
 * The connections of the monitoring server, and which of them goes when places run out: those without a complete
 * request first, then those that do not read their answer, then the oldest. So a new request always finds a place.
 *
 * A connection is *arriving* until something was read from it: its request may be on its way. It goes after all others
 * but those with a short answer.
 */

/**
 * How many connections are held.
 *
 * @since 0.2.0
 * @category models
 */
export interface Limits {
  /** With a part of a request, idle, or with an answer that is not a short one. */
  readonly kept: number;
  /** Of all kinds. */
  readonly most: number;
}

export class HttpConnections<Connection> {
  readonly #arriving = new Set<Connection>();
  /** Idle, or with a part of a request. Each set has the oldest first. */
  readonly #receiving = new Set<Connection>();
  readonly #answering = new Set<Connection>();
  /** Of those, the ones whose last request has a short answer. */
  readonly #short = new Set<Connection>();

  constructor(
    readonly limits: Limits,
    /** Whether the client leaves some of its answer unread. */
    readonly stalled: (connection: Connection) => boolean,
    /** Whether anything was read from it since it was accepted. */
    readonly heard: (connection: Connection) => boolean,
  ) {}

  get size(): number {
    return this.#arriving.size + this.#receiving.size + this.#answering.size;
  }

  /** It was accepted. */
  arrived(connection: Connection): void {
    this.#arriving.add(connection);
  }

  /** It had time enough to send its request. */
  settled(connection: Connection): void {
    if (this.#arriving.delete(connection)) this.#receiving.add(connection);
  }

  /**
   * A complete request came over it, and the one before has been answered. One with a short answer, such as of health,
   * is closed after all others.
   */
  requested(connection: Connection, short = false): void {
    if (short) this.#short.add(connection);
    else this.#short.delete(connection);
    this.#arriving.delete(connection);
    this.#receiving.delete(connection);
    this.#answering.add(connection);
  }

  /** Its request was answered. */
  answered(connection: Connection): void {
    if (!this.#answering.delete(connection)) return;
    this.#short.delete(connection);
    this.#receiving.add(connection);
  }

  /** It is gone. */
  closed(connection: Connection): void {
    this.#arriving.delete(connection);
    this.#receiving.delete(connection);
    this.#answering.delete(connection);
    this.#short.delete(connection);
  }

  get #kept(): number {
    return this.#receiving.size + this.#answering.size - this.#short.size;
  }

  /** Whether an answer is under way on it. */
  isAnswering(connection: Connection): boolean {
    return this.#answering.has(connection);
  }

  /** Takes out, one after the other, those that have to go for the limits to hold. */
  *excess(): Generator<Connection> {
    if (this.size <= this.limits.kept) return;
    for (const connection of this.#arriving) if (this.heard(connection)) this.settled(connection);
    while (this.#kept > this.limits.kept || this.size > this.limits.most) {
      const next = this.#first();
      if (next === undefined) return;
      this.closed(next);
      yield next;
    }
  }

  #first(): Connection | undefined {
    for (const connection of this.#receiving) return connection;
    for (const connection of this.#answering) if (this.stalled(connection)) return connection;
    for (const connection of this.#answering) if (!this.#short.has(connection)) return connection;
    for (const connection of this.#arriving) return connection;
    for (const connection of this.#answering) return connection;
    return undefined;
  }
}
