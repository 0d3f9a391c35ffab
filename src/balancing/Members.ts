/**
 * The members that an algorithm chooses from: the part of a pool that changes rarely. How many connections each has is
 * {@link Load}.
 */
import { hash } from "./Hash.js";
import * as PersistentVector from "./PersistentVector.js";

/**
 * `backup` members are for when no primary one is eligible.
 *
 * @since 0.2.0
 * @category models
 */
export type Role = "primary" | "backup";

/**
 * The weights that may be given: whole numbers in these bounds.
 *
 * @since 0.2.0
 * @category constants
 */
export const weightBounds = { least: 0, most: 256 } as const;

/**
 * The limits of connections that may be given: whole numbers in these bounds.
 *
 * @since 0.2.0
 * @category constants
 */
export const limitBounds = { least: 1, most: 1_000_000 } as const;

/**
 * What an algorithm may know of a backend, besides its connections.
 *
 * @since 0.2.0
 * @category models
 */
export interface Member {
  /** Its place among the members, for as long as it is known. The order of slots is stable. */
  readonly slot: number;
  /** Its identity (address and id): two balancers that know the same backend agree on it. */
  readonly key: string;
  /** Its address and port in text: two members may have the same. */
  readonly endpoint: string;
  /**
   * Its share of the connections, relative to the other members: 1 unless something else is said. A member of weight 0
   * is not eligible.
   */
  readonly weight: number;
  /** The most connections it may have; Infinity is none. */
  readonly limit: number;
  readonly role: Role;
  /** Whether it may get new connections, as far as its limit allows. */
  readonly eligible: boolean;
}

/**
 * The members of one moment, an immutable value.
 *
 * @since 0.2.0
 * @category models
 */
export interface Members<out A extends Member = Member> {
  readonly slots: PersistentVector.PersistentVector<A>;
  /** How many are eligible. */
  readonly eligible: number;
  /** How many of these are primary. */
  readonly primaries: number;
  /**
   * Equal for two values with the same eligible members in the same slots, with the same weights and roles; different
   * otherwise, but for one case in 2^51. What an algorithm has prepared holds while this stays the same.
   */
  readonly fingerprint: number;
}

/**
 * No members.
 *
 * @since 0.2.0
 * @category constructors
 */
export const empty: Members<never> = {
  slots: PersistentVector.empty,
  eligible: 0,
  primaries: 0,
  fingerprint: 0,
};

// Below half of what a number holds exactly, so that a sum of two is exact as well.
const modulus = 2 ** 51;

// The sum over all eligible members, so that one can be added and taken away without looking at the others.
const print = ({ eligible, key, role, slot, weight }: Member): number => {
  if (!eligible) return 0;
  const text = `${slot} ${weight} ${role} ${key}`;
  return (hash(text, 1) >>> 6) * 2 ** 25 + (hash(text, 2) >>> 7);
};

const isPrimary = (member: Member | undefined): boolean =>
  member?.eligible === true && member.role === "primary";

const changed = <A extends Member>(
  members: Members<A>,
  slot: number,
  before: A | undefined,
  after: A | undefined,
): Members<A> => {
  const gone = before === undefined ? 0 : print(before);
  const come = after === undefined ? 0 : print(after);
  return {
    slots: PersistentVector.set(members.slots, slot, after),
    eligible: members.eligible + (after?.eligible ? 1 : 0) - (before?.eligible ? 1 : 0),
    primaries: members.primaries + (isPrimary(after) ? 1 : 0) - (isPrimary(before) ? 1 : 0),
    fingerprint: (members.fingerprint + (come - gone) + modulus) % modulus,
  };
};

/**
 * Which members connections are given to: the primary ones while one of them is eligible, otherwise the backups.
 *
 * @since 0.2.0
 * @category getters
 */
export const roleInService = ({ primaries }: Members): Role => (primaries > 0 ? "primary" : "backup");

/**
 * The member in a slot; undefined where there is none.
 *
 * @example
 * ```ts
 * import { type Algorithm, Members } from "zeitwork-load-balancer"
 *
 * // The member in a slot of one's choice, where there is one that may be chosen.
 * const pinned = (slot: number): Algorithm.Algorithm<undefined> => ({
 *   name: "pinned",
 *   initial: undefined,
 *   choose: (members) =>
 *     Members.get(members, slot)?.eligible ? { slot, state: undefined } : undefined,
 * })
 * ```
 *
 * @since 0.2.0
 * @category getters
 */
export const get = <A extends Member>(members: Members<A>, slot: number): A | undefined =>
  PersistentVector.get(members.slots, slot);

/**
 * Every member, eligible or not, in the order of slots. Takes time in proportion to their number.
 *
 * @since 0.2.0
 * @category getters
 */
export const toArray = <A extends Member>(members: Members<A>): Array<A> =>
  PersistentVector.toArray(members.slots);

/**
 * The slot for the next member: the lowest that is vacant.
 *
 * @since 0.2.0
 * @category accessors
 */
export const vacant = (members: Members): number => PersistentVector.vacant(members.slots);

/**
 * Puts a member into its slot, which is {@link vacant}.
 *
 * @since 0.2.0
 * @category accessors
 */
export const insert = <A extends Member>(members: Members<A>, member: A): Members<A> =>
  changed(members, member.slot, undefined, member);

/**
 * Puts another value in place of the member in the same slot; nothing happens where there is none.
 *
 * @since 0.2.0
 * @category accessors
 */
export const replace = <A extends Member>(members: Members<A>, member: A): Members<A> => {
  const before = get(members, member.slot);
  return before === undefined || before === member ? members : changed(members, member.slot, before, member);
};

/**
 * Takes the member out of a slot; nothing happens where there is none.
 *
 * @since 0.2.0
 * @category accessors
 */
export const remove = <A extends Member>(members: Members<A>, slot: number): Members<A> => {
  const before = get(members, slot);
  return before === undefined ? members : changed(members, slot, before, undefined);
};
