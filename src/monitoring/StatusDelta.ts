/**
 * The difference between two statuses, and applying a difference to a status: for the server, the page and the client.
 * Pure, and without anything that a browser does not have.
 */
import type { BackendStatus, Change, Status } from "./Api.js";

type Backend = typeof BackendStatus.Type;
type Name = Pick<Backend, "id" | "address">;

/** Identity is id and address together. No space stands in an address. */
export const keyOf = ({ address, id }: Name): string => `${address} ${id}`;

type Fields = Readonly<Record<string, unknown>>;

const same = (left: unknown, right: unknown): boolean =>
  left === right ||
  (typeof left === "object" && typeof right === "object" && JSON.stringify(left) === JSON.stringify(right));

/** The fields of `after` whose value differs from `before`. */
const changedFields = <A extends object>(before: A, after: A): Partial<A> => {
  const [old, now] = [before as Fields, after as Fields]; // any field, by its name
  const changed: Record<string, unknown> = {};
  for (const name in now) if (!same(now[name], old[name])) changed[name] = now[name];
  return changed as Partial<A>; // a part of after
};

/** The changed fields of a backend; undefined when none has changed. */
export const ofBackend = (
  before: Backend | undefined,
  after: Backend,
): (typeof Change.Type)["backends"][number] | undefined => {
  if (before === undefined) return after;
  const changed = changedFields(before, after);
  for (const _ in changed) return { id: after.id, address: after.address, ...changed };
  return undefined;
};

/** The changed fields other than the backends; `now` and `uptime_seconds` are always included. */
export const ofTotals = (
  before: Omit<typeof Status.Type, "backends">,
  { now, uptime_seconds, ...after }: Omit<typeof Status.Type, "backends">,
): Omit<typeof Change.Type, "backends" | "removed"> => {
  const { now: _, uptime_seconds: __, ...old } = before;
  return { now, uptime_seconds, ...changedFields(old, after) };
};

/** The status after a change. Backends that are new stand last. */
export const applied = (
  { backends, ...totals }: typeof Status.Type,
  { backends: changed, removed, ...more }: typeof Change.Type,
): typeof Status.Type => {
  const gone = new Set(removed.map(keyOf));
  const byKey = new Map<string, Backend>();
  for (const backend of backends) {
    const key = keyOf(backend);
    if (!gone.has(key)) byKey.set(key, backend);
  }
  for (const change of changed) {
    const key = keyOf(change);
    // A backend that is new comes with all its fields.
    byKey.set(key, { ...byKey.get(key), ...change } as Backend);
  }
  return { ...totals, ...more, backends: [...byKey.values()] };
};
