/**
 * What an Operator lists: which entries are backends, and why the others are not. Pure.
 *
 * Nothing of an entry is printed but its id, its address and its state, and those only made harmless: its
 * `environment_variables` can hold secrets.
 */
import { Either } from "effect";
import type { Instance } from "../backend/Backend.js";
import { type InvalidInstance, limitBounds, problemOf, weightBounds } from "../backend/Listing.js";
import { type Fields, isObject, oversized } from "../json/JsonList.js";
import { printable } from "../log/ForeignText.js";
import { format, isIpAddress } from "../net/SocketAddress.js";
import type { Answer, Ignored, Skipped } from "./Discovery.js";

/** The port of an instance that does not say which. */
export const defaultPort = 8080;

/** The longest entry that is read, in bytes. */
export const longestEntry = 128 * 1024;

/** How many skipped entries, and how many wrong values, are named one by one. */
const mostSkipped = 1000;

/** What the Operator calls the fields of an instance. */
const fields: Readonly<Record<InvalidInstance["field"], string>> = {
  id: "id",
  name: "name",
  host: "ip_address",
  port: "default_port",
  weight: "weight",
  limit: "max_connections",
  role: "backup",
};

/** Why an entry cannot be a backend. */
interface Refusal {
  readonly why: string;
  readonly malformed: boolean;
}

const malformed = (why: string): Either.Either<never, Refusal> => Either.left({ why, malformed: true });
const inactive = (why: string): Either.Either<never, Refusal> => Either.left({ why, malformed: false });

/** What a field should be and is not. The value itself is not printed. */
const wrongType = (field: string, value: unknown, expected: string): string =>
  value === undefined ? `${field} is missing` : `${field} is not ${expected}`;

/** A value that may be left out: what it is, or why it counts as absent. */
type Optional<A> = { readonly value: A | undefined } | { readonly wrong: string };

const optionalNumber = (
  field: string,
  value: unknown,
  { least, most }: { readonly least: number; readonly most: number },
): Optional<number> => {
  if (value === undefined || value === null) return { value: undefined };
  return typeof value === "number" && Number.isInteger(value) && value >= least && value <= most
    ? { value }
    : { wrong: `${field} is not a whole number from ${least} to ${most}` };
};

const optionalRole = (backup: unknown): Optional<NonNullable<Instance["role"]>> => {
  if (backup === undefined || backup === null) return { value: undefined };
  return typeof backup === "boolean"
    ? { value: backup ? "backup" : "primary" }
    : { wrong: "backup is neither true nor false" };
};

/** A backend, and values of its entry that count as absent. */
interface Entry {
  readonly instance: Instance;
  readonly wrongs: ReadonlyArray<string>;
}

/** The instance with what its entry says of how much it shall get. */
const withTerms = (instance: Instance, { backup, max_connections, weight }: Fields): Entry => {
  const terms = {
    weight: optionalNumber("weight", weight, weightBounds),
    limit: optionalNumber("max_connections", max_connections, limitBounds),
    role: optionalRole(backup),
  };
  const wrongs = Object.values(terms).flatMap((term) => ("wrong" in term ? [term.wrong] : []));
  const given = <A>(term: Optional<A>): A | undefined => ("value" in term ? term.value : undefined);
  return {
    instance: {
      ...instance,
      weight: given(terms.weight),
      limit: given(terms.limit),
      role: given(terms.role),
    },
    wrongs,
  };
};

const readEntry = (entry: unknown): Either.Either<Entry, Refusal> => {
  if (entry === oversized) return malformed(`it is longer than ${longestEntry / 1024} KiB`);
  if (!isObject(entry)) return malformed("it is not an object");
  const { default_port, deleted_at, id, ip_address, state } = entry;
  // First: one that is starting may well have no address yet, and it is not the missing address that is worth saying.
  if (typeof state === "string" && state !== "running") {
    return inactive(`its state is ${state === "" ? "empty" : printable(state)}, not running`);
  }
  if (deleted_at !== undefined && deleted_at !== null) return inactive("it is deleted");
  if (state !== undefined && state !== null && typeof state !== "string")
    return malformed("state is not text");
  if (typeof id !== "string") return malformed(wrongType("id", id, "text"));
  if (typeof ip_address !== "string") return malformed(wrongType("ip_address", ip_address, "text"));
  const port = default_port ?? 0;
  if (typeof port !== "number") return malformed("default_port is not a number");
  const instance: Instance = { id, address: { host: ip_address, port: port === 0 ? defaultPort : port } };
  const problem = problemOf(instance);
  return problem === undefined
    ? Either.right(withTerms(instance, entry))
    : malformed(`${fields[problem.field]}: ${printable(problem.why, 120)}`);
};

/** An entry, as a message can name it. */
const nameOf = (entry: unknown, place: number): string => {
  if (isObject(entry)) {
    const { id, ip_address } = entry;
    if (typeof id === "string" && id !== "") return printable(id);
    // Better than its place, which changes from one answer to the next.
    if (typeof ip_address === "string" && isIpAddress(ip_address)) return `the one at ${ip_address}`;
  }
  return `number ${place} in the list`;
};

/**
 * Collects the entries of one answer. Of entries with the same id one counts, and it is the same one in whatever order
 * they are listed.
 */
export class OperatorList {
  readonly #instances = new Map<string, Instance>();
  readonly #skipped: Array<Skipped> = [];
  readonly #ignored: Array<Ignored> = [];
  #unnamed = 0;
  #unnamedMalformed = false;

  add(entry: unknown, place: number): void {
    Either.match(readEntry(entry), {
      onLeft: ({ malformed, why }) => this.#skip(() => nameOf(entry, place), why, malformed),
      onRight: ({ instance, wrongs }) => {
        for (const why of wrongs) {
          if (this.#ignored.length < mostSkipped) this.#ignored.push({ entry: nameOf(entry, place), why });
        }
        this.#list(instance);
      },
    });
  }

  get answer(): Answer {
    const others: ReadonlyArray<Skipped> =
      this.#unnamed === 0
        ? []
        : [
            {
              entry: "others",
              why: `more than ${mostSkipped} entries of the list cannot be backends`,
              malformed: this.#unnamedMalformed,
            },
          ];
    return {
      instances: [...this.#instances.values()],
      skipped: [...this.#skipped, ...others],
      ignored: this.#ignored,
    };
  }

  #list(instance: Instance): void {
    const other = this.#instances.get(instance.id);
    if (other === undefined) {
      this.#instances.set(instance.id, instance);
      return;
    }
    const first = format(instance.address) < format(other.address) ? instance : other;
    this.#instances.set(instance.id, first);
    this.#skip(
      () => instance.id,
      `its id is listed more than once; the one at ${format(first.address)} counts`,
      false,
    );
  }

  #skip(name: () => string, why: string, malformed: boolean): void {
    if (this.#skipped.length < mostSkipped) {
      this.#skipped.push({ entry: name(), why, malformed });
      return;
    }
    this.#unnamed += 1;
    this.#unnamedMalformed ||= malformed;
  }
}
