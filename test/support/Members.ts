/**
 * Members with their load, for tests of the algorithms.
 */
import { type Algorithm, choose } from "../../src/balancing/Algorithm.js";
import * as Load from "../../src/balancing/Load.js";
import * as Members from "../../src/balancing/Members.js";

export interface Group {
  readonly members: Members.Members;
  readonly load: Load.Load;
}

const memberOf = (key: string, slot: number): Members.Member => ({
  ...{
    key,
    endpoint: key.split(" ")[0] ?? key,
    slot,
    weight: 1,
    limit: Infinity,
    role: "primary",
    eligible: true,
  },
});

const withMember = ({ members, load }: Group, member: Members.Member, connections: number): Group => ({
  members,
  load: Load.set(
    ...([
      load,
      member.slot,
      connections,
      member.eligible && connections < member.limit,
      member.weight,
    ] as const),
  ),
});

export const empty: Group = { members: Members.empty, load: Load.empty };

/** The group with one more member, eligible and idle, in the lowest vacant slot. */
export const joined = ({ load, members }: Group, key: string): Group => {
  const member = memberOf(key, Members.vacant(members));
  return withMember({ members: Members.insert(members, member), load }, member, 0);
};

/** The group without the member in a slot. */
export const left = ({ load, members }: Group, slot: number): Group => ({
  members: Members.remove(members, slot),
  load: Load.set(load, slot, 0, false, 1),
});

/** One eligible and idle member for each key, in this order of slots. */
export const groupOf = (keys: ReadonlyArray<string>): Group => keys.reduce(joined, empty);

/** The group with other values of the member in a slot. */
export const changed = (
  group: Group,
  slot: number,
  values: Partial<Pick<Members.Member, "eligible" | "limit" | "weight"> & { readonly connections: number }>,
): Group => {
  const before = Members.get(group.members, slot);
  if (before === undefined) return group;
  const { connections = Load.connections(group.load, slot), ...rest } = values;
  const member = { ...before, ...rest };
  return withMember({ ...group, members: Members.replace(group.members, member) }, member, connections);
};

/** Those that can take one more connection. */
export const openIn = ({ load, members }: Group): ReadonlyArray<Members.Member> =>
  Members.toArray(members).filter(({ slot }) => Load.isOpen(load, slot));

/** An algorithm, and what it remembers. */
export interface Chooser {
  readonly algorithm: Algorithm;
  readonly state: unknown;
}

export const chooser = (algorithm: Algorithm): Chooser => ({ algorithm, state: algorithm.initial });

/** The member that is chosen, and what is remembered then. */
export const chosen = (
  { algorithm, state }: Chooser,
  { load, members }: Group,
  host = "10.9.8.7",
): readonly [Members.Member | undefined, Chooser] => {
  const choice = choose(algorithm, members, load, state, { host });
  return choice === undefined
    ? [undefined, { algorithm, state }]
    : [Members.get(members, choice.slot), { algorithm, state: choice.state }];
};

/** Runs a computation that yields between its slices to its end. */
export const finished = <A>(slices: Generator<void, A>): A => {
  for (;;) {
    const slice = slices.next();
    if (slice.done === true) return slice.value;
  }
};

/** What is remembered once the tables for these members are in use; the same where the algorithm has none. */
export const prepared = ({ algorithm, state }: Chooser, { members }: Group): Chooser => {
  const slices = algorithm.prepare?.(members, state);
  return slices === undefined ? { algorithm, state } : { algorithm, state: finished(slices).into(state) };
};
