/**
 * What it takes to be a balancing algorithm: a pure function from the roster and a client to a choice.
 */
import type { Candidate, Roster } from "./Roster.js";

/** The client a backend is chosen for. */
export interface Client {
  /** Its IP address in text. The port is left out on purpose: affinity is per client, not per connection. */
  readonly host: string;
}

/** A chosen slot, and the algorithm to ask for the next choice. */
export interface Choice {
  readonly slot: number;
  readonly next: Algorithm;
}

/**
 * An algorithm is an immutable value. What it remembers between choices (where a rotation stands, say) is part
 * of it: every choice answers with the algorithm to ask next, so that a choice can be replayed, compared and
 * tested without a clock, a socket or an effect.
 */
export interface Algorithm {
  /** The name as it stands in settings, logs and metrics. */
  readonly name: string;
  /**
   * Chooses among the eligible candidates; undefined when there is none. It is asked once for each connection,
   * so it should cost well under a microsecond or two, and must not throw.
   */
  readonly choose: (roster: Roster<Candidate>, client: Client) => Choice | undefined;
  /**
   * Where choosing needs a table: builds it for this roster and returns the algorithm that uses it. Asked for
   * off the connection path whenever the set of eligible candidates has changed. It yields after every slice
   * of at most about a millisecond, so that the caller can let other work have its turn.
   */
  readonly prepare?: (roster: Roster<Candidate>) => Generator<void, Algorithm>;
}
