/**
 * What outlives the process: the last list of backends, and what operators chose. As entries of a JSON list, of which the
 * first says how many of which kind follow: a file that was cut off is seen to be one. Pure.
 */
import { type Admin, type Backend, type Instance, keyOf, type Steered } from "../backend/Backend.js";
import { type InvalidInstance, problemOf, weightBounds } from "../backend/Listing.js";
import * as Pool from "../backend/Pool.js";
import type { ToEpoch } from "../clock/WallClock.js";
import { type Fields, isObject, type Limits, oversized } from "../json/JsonList.js";
import { printable } from "../log/ForeignText.js";
import { format, parse } from "../net/SocketAddress.js";

/** What a state file held. Times are in milliseconds since the epoch, also those of the choices. */
export interface State {
  /** What had answered the list, as `Discovery` names its source. */
  readonly source: string;
  readonly written: number;
  readonly instances: ReadonlyArray<Instance>;
  /** The oldest first. */
  readonly choices: ReadonlyArray<Pool.Choice>;
}

const name = "zeitwork-load-balancer state";
const version = 1;

/** The most backends that are kept. As many as an Operator may list. */
export const mostBackends = 100_000;

/** What is accepted of a file, and never exceeded by one that was written. */
export const limits: Limits = {
  bytes: 64 * 1024 * 1024,
  entries: 1 + mostBackends + Pool.mostChosen,
  depth: 4,
  entryBytes: 16 * 1024,
};

/** The longest text about who chose something. */
const longestBy = 500;

const instant = (millis: number): string => new Date(millis).toISOString();

const backendEntry = (pool: Pool.Pool, { address, id, limit, listedWeight, name, role }: Backend) => ({
  kind: "backend",
  id,
  ...(name === undefined ? {} : { name }),
  address: format(address),
  weight: listedWeight,
  // The limit of the settings is not the list's: they may say something else at the next start.
  ...(limit === pool.limit ? {} : { max_connections: limit }),
  role,
});

const steeredEntry = ({ at, by }: Steered, toEpoch: ToEpoch) => ({
  by: by.slice(0, longestBy),
  since: instant(toEpoch(at)),
});

const choiceEntry = ({ admin, chosenWeight, key, steered }: Pool.Choice, toEpoch: ToEpoch) => {
  // An address has no space in it.
  const space = key.indexOf(" ");
  return {
    kind: "choice",
    id: key.slice(space + 1),
    address: key.slice(0, space),
    admin,
    ...(steered === undefined ? {} : { steered: steeredEntry(steered, toEpoch) }),
    ...(chosenWeight === undefined
      ? {}
      : { weight: { weight: chosenWeight.weight, ...steeredEntry(chosenWeight, toEpoch) } }),
  };
};

/** What is kept of a pool, one by one, for a {@link Reader}. `written` is in milliseconds since the epoch. */
export function* entries(
  pool: Pool.Pool,
  { source, toEpoch, written }: Pick<State, "source" | "written"> & { readonly toEpoch: ToEpoch },
): Generator<object, void> {
  yield {
    format: name,
    version,
    written: instant(written),
    source,
    backends: pool.listed,
    choices: pool.chosen.size,
  };
  for (const backend of Pool.iterate(pool)) yield backendEntry(pool, backend);
  for (const [key, choice] of pool.chosen) yield choiceEntry({ key, ...choice }, toEpoch);
}

type Read<A> = A | { readonly wrong: string };

const isWrong = <A extends object>(read: Read<A>): read is { readonly wrong: string } => "wrong" in read;

const readInstant = (value: unknown): number | undefined => {
  const millis = typeof value === "string" && value.length < 40 ? Date.parse(value) : Number.NaN;
  return millis >= 0 ? millis : undefined;
};

/** What an entry calls the fields of an instance. */
const fieldNames: Readonly<Record<InvalidInstance["field"], string>> = {
  id: "id",
  name: "name",
  host: "address",
  port: "address",
  weight: "weight",
  limit: "max_connections",
  role: "role",
};

const readInstance = (entry: Fields): Read<Instance> => {
  const { address: text, id, max_connections: limit, name, role, weight } = entry;
  const address = typeof text === "string" ? parse(text) : { wrong: "it is no text" };
  if ("wrong" in address) return { wrong: `address: ${address.wrong}` };
  // Of whatever type they are: looked at below.
  const instance = { id, name, address, weight, limit, role } as Instance;
  const problem = problemOf(instance);
  return problem === undefined ? instance : { wrong: `${fieldNames[problem.field]}: ${problem.why}` };
};

const readSteered = (value: unknown): Read<Steered> => {
  if (!isObject(value)) return { wrong: "it is no object" };
  const at = readInstant(value["since"]);
  if (at === undefined) return { wrong: "since is no time" };
  return typeof value["by"] === "string"
    ? { at, by: printable(value["by"], longestBy) }
    : { wrong: "by is no text" };
};

const readWeight = (value: unknown): Read<NonNullable<Backend["chosenWeight"]>> => {
  const steered = readSteered(value);
  if (isWrong(steered)) return steered;
  const weight = isObject(value) ? value["weight"] : undefined;
  return typeof weight === "number" &&
    Number.isInteger(weight) &&
    weight >= weightBounds.least &&
    weight <= weightBounds.most
    ? { ...steered, weight }
    : { wrong: `weight is not a whole number from ${weightBounds.least} to ${weightBounds.most}` };
};

const admins: Readonly<Record<Admin, true>> = { enabled: true, draining: true, disabled: true };

const isAdmin = (value: unknown): value is Admin => typeof value === "string" && Object.hasOwn(admins, value);

/** The choice of an entry that is without one, where it may be. */
const readOptional = <A extends object>(
  value: unknown,
  read: (value: unknown) => Read<A>,
): Read<{ readonly value: A | undefined }> => {
  if (value === undefined) return { value };
  const found = read(value);
  return isWrong(found) ? found : { value: found };
};

const readChoice = (entry: Fields): Read<Pool.Choice> => {
  const instance = readInstance({ id: entry["id"], address: entry["address"] });
  if (isWrong(instance)) return instance;
  const { admin } = entry;
  if (!isAdmin(admin)) return { wrong: `admin is none of ${Object.keys(admins).join(", ")}` };
  const steered = readOptional(entry["steered"], readSteered);
  if (isWrong(steered)) return { wrong: `steered: ${steered.wrong}` };
  const weight = readOptional(entry["weight"], readWeight);
  if (isWrong(weight)) return { wrong: `weight: ${weight.wrong}` };
  return { key: keyOf(instance), admin, steered: steered.value, chosenWeight: weight.value };
};

interface Header extends Pick<State, "source" | "written"> {
  readonly backends: number;
  readonly choices: number;
}

const readHeader = (entry: unknown): Read<Header> => {
  if (!isObject(entry) || entry["format"] !== name) return { wrong: `format is not ${name}` };
  if (entry["version"] !== version) {
    return { wrong: `version is ${printable(JSON.stringify(entry["version"] ?? null))}, not ${version}` };
  }
  const { backends, choices, source } = entry;
  const written = readInstant(entry["written"]);
  if (written === undefined) return { wrong: "written is no time" };
  if (typeof source !== "string") return { wrong: "source is no text" };
  return typeof backends === "number" && typeof choices === "number"
    ? { source, written, backends, choices }
    : { wrong: "backends and choices are no numbers" };
};

/** Takes the entries of a file one by one, and keeps the first problem. */
export class Reader {
  #header: Header | undefined;
  readonly #instances: Array<Instance> = [];
  readonly #choices: Array<Pool.Choice> = [];
  #problem: string | undefined;

  /** `place` is counted from 1. */
  add(entry: unknown, place: number): void {
    if (this.#problem !== undefined) return;
    const wrong = this.#take(entry);
    if (wrong !== undefined) this.#problem = `entry ${place}: ${printable(wrong, 200)}`;
  }

  /** What is wrong with the entries so far. */
  get problem(): string | undefined {
    return this.#problem;
  }

  /** What the file holds, after its last entry. */
  end(): Read<State> {
    if (this.#problem !== undefined) return { wrong: this.#problem };
    if (this.#header === undefined) return { wrong: "it has no entry" };
    const { backends, choices, ...about } = this.#header;
    return this.#instances.length === backends && this.#choices.length === choices
      ? { ...about, instances: this.#instances, choices: this.#choices }
      : {
          wrong: `entry 1 says ${backends} backends and ${choices} choices, and ${this.#instances.length} and ${this.#choices.length} follow`,
        };
  }

  #take(entry: unknown): string | undefined {
    if (entry === oversized) return `it is longer than ${limits.entryBytes} bytes`;
    if (this.#header === undefined) {
      const header = readHeader(entry);
      if (isWrong(header)) return header.wrong;
      this.#header = header;
      return undefined;
    }
    if (!isObject(entry)) return "it is no object";
    switch (entry["kind"]) {
      case "backend":
        return this.#put(this.#instances, readInstance(entry), mostBackends);
      case "choice":
        return this.#put(this.#choices, readChoice(entry), Pool.mostChosen);
      default:
        return "kind is neither backend nor choice";
    }
  }

  #put<A extends object>(list: Array<A>, read: Read<A>, most: number): string | undefined {
    if (isWrong(read)) return read.wrong;
    if (list.length >= most) return `there are more than ${most} of its kind`;
    list.push(read);
    return undefined;
  }
}
