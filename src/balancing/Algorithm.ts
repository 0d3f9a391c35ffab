/**
 * What it takes to be a balancing algorithm: a pure function from the members, their load and what the algorithm
 * remembers to a choice.
 *
 * @example
 * ```ts
 * import { type Algorithm, Load } from "zeitwork-load-balancer"
 *
 * // The first open member takes everything, the others stand by.
 * const first: Algorithm.Algorithm<undefined> = {
 *   name: "first",
 *   initial: undefined,
 *   choose: (_members, load) => {
 *     const slot = Load.nextOpen(load, -1)
 *     return slot === undefined ? undefined : { slot, state: undefined }
 *   },
 * }
 * ```
 */
import { Data } from "effect";
import * as Load from "./Load.js";
import * as Members from "./Members.js";

/**
 * The client that a member is chosen for.
 *
 * @since 0.2.0
 * @category models
 */
export interface Client {
  /** Its IP address in text. The port is left out on purpose: affinity is per client, not per connection. */
  readonly host: string;
}

/**
 * A chosen slot, and what to remember for the next choice.
 *
 * @since 0.2.0
 * @category models
 */
export interface Choice<out State> {
  readonly slot: number;
  readonly state: State;
}

/**
 * What a preparation came to.
 *
 * @since 0.2.0
 * @category models
 */
export interface Prepared<State> {
  /** The state with it: of the moment when it comes into use, which is a later one than when preparing began. */
  into(state: State): State;
}

/**
 * A balancing algorithm. What it remembers between choices (where a rotation stands, say) is `State`: plain data that
 * can be compared, printed and handed to another process. The same arguments always give the same choice, so that one
 * can be replayed and tested without a clock, a socket or an effect.
 *
 * The functions are declared as methods, so that an algorithm fits where its kind of state is not known (`Algorithm`).
 *
 * @since 0.2.0
 * @category models
 */
export interface Algorithm<State = unknown> {
  /** The name as it stands in settings, logs and metrics. */
  readonly name: string;
  /** What it remembers before its first choice. */
  readonly initial: State;
  /**
   * Chooses among the members that are open (see {@link Load.isOpen}); undefined when there is none. A choice of any
   * other slot is an {@link InvalidChoice}. It is asked once for each connection, so it should cost well under a
   * microsecond or two, and must not throw.
   */
  choose(members: Members.Members, load: Load.Load, state: State, client: Client): Choice<State> | undefined;
  /**
   * For algorithms in which the client decides: the slot that would be chosen for it if no member were full. A place of
   * that member is given to the first waiting client that prefers it. Without this function, places are given to waiting
   * clients in the order in which they came.
   */
  preferred?(
    members: Members.Members,
    load: Load.Load,
    state: State,
    client: Client,
  ): Choice<State> | undefined;
  /**
   * Where choosing needs a table: builds it for these members. Asked for off the connection path whenever the
   * fingerprint of the members has changed; connections choose meanwhile. It yields after every slice of at most about
   * a millisecond, so that the caller can let other work have its turn.
   */
  prepare?(members: Members.Members, state: State): Generator<void, Prepared<State>>;
}

/**
 * A mistake in an algorithm: it chose a member that is not open. A defect, never a connection to that member.
 *
 * @since 0.2.0
 * @category errors
 */
export class InvalidChoice extends Data.TaggedError("InvalidChoice")<{
  readonly reason: "no-member" | "not-eligible" | "standing-by" | "at-its-limit" | "passed-over";
  /** The name of the algorithm. */
  readonly algorithm: string;
  readonly slot: number;
  /** The key of the member; undefined where there is none. */
  readonly member: string | undefined;
}> {
  override get message(): string {
    const chose = `the algorithm ${this.algorithm} chose`;
    switch (this.reason) {
      case "no-member":
        return `${chose} slot ${this.slot}, where there is no member`;
      case "not-eligible":
        return `${chose} ${this.member}, which is not eligible`;
      case "standing-by":
        return `${chose} ${this.member}, a backup, while a primary one is eligible`;
      case "at-its-limit":
        return `${chose} ${this.member}, which is at its limit of connections`;
      case "passed-over":
        return `${chose} ${this.member}, which this client could not be connected to before`;
    }
  }
}

/**
 * Asks an algorithm for a choice, and throws an {@link InvalidChoice} where that is of a member that is not open.
 *
 * @since 0.2.0
 * @category getters
 */
export const choose = <State>(
  algorithm: Algorithm<State>,
  members: Members.Members,
  load: Load.Load,
  state: State,
  client: Client,
): Choice<State> | undefined => {
  const choice = algorithm.choose(members, load, state, client);
  if (choice === undefined) return choice;
  const { slot } = choice;
  // A slot with a fraction, or NaN, would be taken for its whole part.
  const isSlot = Number.isInteger(slot);
  if (isSlot && Load.isOpen(load, slot)) return choice;
  const member = isSlot ? Members.get(members, slot) : undefined;
  const reason =
    member === undefined
      ? "no-member"
      : !member.eligible
        ? "not-eligible"
        : member.role !== Members.roleInService(members)
          ? "standing-by"
          : Load.connections(load, slot) >= member.limit
            ? "at-its-limit"
            : "passed-over";
  throw new InvalidChoice({ reason, algorithm: algorithm.name, slot, member: member?.key });
};
