/**
 * The kinds of values that variables have: each constructor makes a {@link Variable} from its name, its default and
 * what it is.
 */
import { readFileSync, statSync } from "node:fs";
import { isIPv6, SocketAddress as NodeSocketAddress } from "node:net";
import { Duration, Either, Redacted } from "effect";
import { limitBounds, weightBounds } from "../balancing/Members.js";
import * as CidrSet from "../net/CidrSet.js";
import * as IpAddress from "../net/IpAddress.js";
import { format, isIpAddress, parse, type SocketAddress } from "../net/SocketAddress.js";
import * as FilePath from "./FilePath.js";
import { longestDuration, mostOfRate, mostSources } from "./InvalidOption.js";
import * as Token from "./Token.js";
import { type Definition, quote, type Variable, withDefault, withoutDefault } from "./Variable.js";

/**
 * A whole number, with the bounds that hold for a caller of the library too.
 *
 * @since 0.2.0
 * @category models
 */
export interface Count extends Variable<number> {
  readonly bounds: { readonly least: number; readonly most: number };
}

export const count = (
  name: string,
  text: string,
  about: string,
  bounds: Count["bounds"],
  note = "",
): Count => ({
  ...withDefault<number>(text, {
    name,
    about,
    accepted: `a whole number from ${bounds.least} to ${bounds.most}${note}`,
    read: (given) => {
      if (!/^[+-]?[0-9]+$/.test(given)) return Either.left("it is not a whole number");
      const value = Number(given);
      if (value < bounds.least) return Either.left(`it is less than ${bounds.least}`);
      return value > bounds.most ? Either.left(`it is more than ${bounds.most}`) : Either.right(value);
    },
    show: String,
  }),
  bounds,
});

/** A whole number that limits something; undefined where there is no limit. */
export const limit = (
  name: string,
  about: string,
  bounds: Count["bounds"],
): Variable<number | undefined> & Pick<Count, "bounds"> => ({
  ...withoutDefault<number>(count(name, String(bounds.least), about, bounds)),
  bounds,
});

/** A whole number, or `auto`: as many as serve best on the machine. */
export const countOrAuto = (
  name: string,
  text: string,
  about: string,
  bounds: Count["bounds"],
): Variable<number | "auto"> => {
  const number = count(name, text, about, bounds);
  return withDefault<number | "auto">(text, {
    name,
    about,
    accepted: `${number.accepted}, or auto`,
    read: (given) => (given.toLowerCase() === "auto" ? Either.right("auto") : number.read(given)),
    show: String,
  });
};

/** A port to listen on. */
export const port = (name: string, text: string, about: string): Count =>
  count(name, text, about, { least: 0, most: 65535 }, " (0 is any free port)");

/** Every address of the host, IPv6 and IPv4. */
export const anyAddress = "::";

/** An address to listen on. Unset is not the same as `::`: only the former may fall back to IPv4. */
export const address = (name: string, about: string): Variable<string | undefined> => ({
  name,
  default: anyAddress,
  about: `${about}; the default takes IPv4 too, and IPv4 alone where there is no IPv6`,
  accepted: "an IPv4 or IPv6 address without brackets, such as 127.0.0.1, 0.0.0.0 or ::1",
  unset: undefined,
  read: (text) =>
    isIpAddress(text)
      ? Either.right(text)
      : Either.left("it is not an IP address (names are not looked up here)"),
  show: (value) => value ?? anyAddress,
  showText: quote,
  whenWrong: "refuse",
});

/** One of several words, each of which stands for a value. The first word of a value is the one that is shown. */
export const choice = <A>(
  name: string,
  text: string,
  about: string,
  values: Readonly<Record<string, A>>,
): Variable<A> => {
  const words = new Map(Object.entries(values));
  return withDefault<A>(text, {
    name,
    about,
    accepted: [...words.keys()].join(", "),
    read: (given) => {
      const value = words.get(given.toLowerCase());
      return value === undefined ? Either.left("there is no such choice") : Either.right(value);
    },
    show: (value) => [...words].find(([, each]) => each === value)?.[0] ?? String(value),
  });
};

/** One of several words. */
export const oneOf = <A extends string>(
  name: string,
  text: A,
  about: string,
  words: ReadonlyArray<A>,
): Variable<A> => choice<A>(name, text, about, Object.fromEntries(words.map((word) => [word, word])));

/** Something that is so or not. */
export const flag = (name: string, text: "true" | "false", about: string): Variable<boolean> =>
  choice(name, text, about, { true: true, false: false });

/** A secret that is sent in a header. */
export const token = (name: string, about: string, least: number) =>
  withoutDefault<Redacted.Redacted>({
    name,
    about,
    accepted: Token.accepted(least),
    read: (text) => {
      const problem = Token.problemOf(text, least);
      return problem === undefined ? Either.right(Redacted.make(text)) : Either.left(problem);
    },
    show: String,
    showText: () => "<redacted>",
  });

const shortUnits = { ms: "millis", s: "seconds", m: "minutes", h: "hours", d: "days" } as const;

const readDuration = (text: string): Either.Either<Duration.Duration, string> => {
  if (/^[+-]?[0-9.]+$/.test(text)) return Either.left(`it has no unit (did you mean ${text}s or ${text}ms?)`);
  const lower = text.toLowerCase();
  const short = /^(-?[0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d)$/.exec(lower);
  const long =
    short === null
      ? lower
      : `${short[1]} ${shortUnits[short[2] as keyof typeof shortUnits /* by the pattern */]}`;
  // A minus sign would be lost: Effect makes negative durations zero.
  if (/^-[0-9]/.test(long) && !/^-[0.]+ /.test(long)) return Either.left("it is negative");
  return Either.fromOption(Duration.decodeUnknown(long), () => "it is not a duration");
};

const formatDuration = (duration: Duration.Duration): string => {
  const millis = Duration.toMillis(duration);
  if (millis === 0) return "0s";
  if (millis % 86_400_000 === 0) return `${millis / 86_400_000}d`;
  if (millis % 3_600_000 === 0) return `${millis / 3_600_000}h`;
  if (millis % 60_000 === 0) return `${millis / 60_000}m`;
  return millis % 1000 === 0 ? `${millis / 1000}s` : `${millis}ms`;
};

interface DurationBounds {
  readonly least?: Duration.Duration;
  readonly note?: string;
}

const durationOf = (
  name: string,
  about: string,
  { least = Duration.millis(1), note = "" }: DurationBounds,
): Definition<Duration.Duration> => ({
  name,
  about,
  accepted:
    `a number and its unit from ${formatDuration(least)} to ${formatDuration(longestDuration)}${note}, ` +
    `such as 500ms, 5s, 1m, 2h, 1d or 5 seconds`,
  read: (given) =>
    Either.flatMap(readDuration(given), (value) => {
      if (Duration.lessThan(value, least)) {
        return Either.left(Duration.equals(value, Duration.zero) ? "it is zero" : "it is too short");
      }
      return Duration.greaterThan(value, longestDuration)
        ? Either.left("it is too long")
        : Either.right(value);
    }),
  show: formatDuration,
});

/** A length of time, which a timer can hold. */
export const duration = (
  name: string,
  text: string,
  about: string,
  bounds: DurationBounds = {},
): Variable<Duration.Duration> => withDefault(text, durationOf(name, about, bounds));

/** The same where there may be none. */
export const optionalDuration = (
  name: string,
  about: string,
  bounds: DurationBounds = {},
): Variable<Duration.Duration | undefined> => withoutDefault(durationOf(name, about, bounds));

/**
 * A count in each second or each minute.
 *
 * @since 0.2.0
 * @category models
 */
export interface Rate {
  readonly count: number;
  readonly per: "second" | "minute";
}

const perOf = { s: "second", m: "minute" } as const;

/** A rate limit; undefined if there is none. */
export const rate = (name: string, about: string): Variable<Rate | undefined> =>
  withoutDefault<Rate>({
    name,
    about,
    accepted: `a whole number from 1 to ${mostOfRate} and /s (a second) or /m (a minute), such as 20/s or 600/m`,
    read: (text) => {
      const [, digits = "", unit] = /^([0-9]{1,9})\/(s|m)$/i.exec(text) ?? [];
      if (unit === undefined) return Either.left("it is not a number, a stroke and a unit");
      const value = Number(digits);
      if (value < 1) return Either.left("it is less than 1");
      if (value > mostOfRate) return Either.left(`it is more than ${mostOfRate}`);
      return Either.right({
        count: value,
        per: perOf[unit.toLowerCase() as keyof typeof perOf /* by the pattern */],
      });
    },
    show: ({ count, per }) => `${count}/${per === "second" ? "s" : "m"}`,
  });

/** A part of a whole. */
export const ratio = (name: string, text: string, about: string): Variable<number> =>
  withDefault<number>(text, {
    name,
    about,
    accepted: "a number from 0 (none) to 1 (all), such as 0.05",
    read: (given) => {
      if (!/^(\d+(\.\d*)?|\.\d+)$/.test(given)) return Either.left("it is not a number");
      const value = Number(given);
      return value > 1 ? Either.left("it is more than 1") : Either.right(value);
    },
    show: String,
  });

// The form of W3C Baggage, as OpenTelemetry has it: values are percent-encoded where need be.
const readHeaders = (
  text: string,
): Either.Either<Redacted.Redacted<Readonly<Record<string, string>>>, string> => {
  const headers: Record<string, string> = {};
  for (const [i, item] of text.split(",").entries()) {
    const [, name, encoded = ""] = /^\s*([!#$%&'*+.^_`|~0-9A-Za-z-]+)\s*=\s*(.*?)\s*$/.exec(item) ?? [];
    if (name === undefined) return Either.left(`item ${i + 1} is not name=value`);
    const value = Either.getOrUndefined(Either.try(() => decodeURIComponent(encoded)));
    if (value === undefined || !/^[\x20-\x7e]*$/.test(value)) {
      return Either.left(`the value of item ${i + 1} cannot be sent in a header`);
    }
    headers[name] = value;
  }
  return Either.right(Redacted.make(headers));
};

/** Headers of a request; they may be secrets. */
export const headers = (name: string, about: string) =>
  withoutDefault<Redacted.Redacted<Readonly<Record<string, string>>>>({
    name,
    about,
    accepted: "name=value, separated by commas, with values percent-encoded where need be",
    read: readHeaders,
    show: String,
    showText: () => "<redacted>",
  });

// Whatever stands before the last @, and in a query, may be a secret, even in a text that is no URL.
const withoutCredentials = (text: string): string =>
  text
    .replace(/^([a-z][a-z0-9+.-]*:\/*)?.*@/is, "$1***@")
    .replace(/[?#].*$/s, (rest) => `${rest.charAt(0)}***`);

const readUrl = (text: string): Either.Either<URL, string> => {
  if (!URL.canParse(text)) return Either.left("it is not a URL");
  const url = new URL(text);
  if (url.protocol !== "http:" && url.protocol !== "https:") {
    return Either.left(
      /^[a-z]+:\/\//i.test(text)
        ? `its scheme is ${url.protocol}//`
        : "it does not start with http:// or https://",
    );
  }
  if (!/^https?:\/\//i.test(text)) return Either.left("it does not start with http:// or https://");
  if (text.includes("?")) return Either.left("it has a query");
  return text.includes("#") ? Either.left("it has a fragment") : Either.right(url);
};

const showUrl = ({ host, password, pathname, protocol, username }: URL): string =>
  `${protocol}//${username === "" && password === "" ? "" : "***@"}${host}${pathname.replace(/\/+$/, "")}`;

/** A URL to which paths are added. It may carry credentials, which are never shown. */
const urlOf = (name: string, about: string, example: string) => ({
  name,
  about,
  accepted: `an http:// or https:// URL without query and fragment, such as ${example}`,
  read: readUrl,
  show: showUrl,
  showText: (text: string) => quote(withoutCredentials(text)),
});

export const url = (name: string, text: string, about: string, example: string): Variable<URL> =>
  withDefault(text, urlOf(name, about, example));

export const optionalUrl = (name: string, about: string, example: string): Variable<URL | undefined> =>
  withoutDefault(urlOf(name, about, example));

/** Where a file is. */
export const filePath = (name: string, about: string): Variable<string | undefined> =>
  withoutDefault<string>({
    name,
    about,
    accepted: FilePath.accepted,
    read: (text) => {
      const problem = FilePath.problemOf(text);
      return problem === undefined ? Either.right(text) : Either.left(problem);
    },
    show: (value) => value,
  });

/** A short text that people read. */
export const label = (name: string, text: string, about: string): Variable<string> =>
  withDefault<string>(text, {
    name,
    about,
    accepted: "at most 255 characters, on one line",
    read: (given) => {
      if (/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u.test(given)) return Either.left("it has control characters");
      return given.length > 255 ? Either.left("it is too long") : Either.right(given);
    },
    show: (value) => value,
  });

/** The one spelling of a host: two spellings of one address have the same. */
export const canonicalHost = (host: string): string => {
  const [ip = "", zone] = host.split("%");
  if (!isIPv6(ip)) return host.toLowerCase();
  const mapped = IpAddress.canonical(new NodeSocketAddress({ address: ip, family: "ipv6" }).address);
  return zone === undefined ? mapped : `${mapped}%${zone}`;
};

const readSources = (text: string): Either.Either<ReadonlyArray<string>, string> => {
  const addresses: Array<string> = [];
  for (const item of text.split(",").map((each) => each.trim())) {
    if (!isIpAddress(item)) return Either.left(`${quote(item)} is not an IP address`);
    if (IpAddress.isUnspecified(item)) return Either.left(`${quote(item)} is every address`);
    const address = canonicalHost(item);
    if (addresses.includes(address)) return Either.left(`${quote(item)} is there twice`);
    addresses.push(address);
  }
  return addresses.length > mostSources
    ? Either.left(`there are more than ${mostSources}`)
    : Either.right(addresses);
};

/** Addresses of this host to connect from. */
export const sources = (name: string, about: string) =>
  withoutDefault<ReadonlyArray<string>>({
    name,
    about,
    accepted: `IPv4 and IPv6 addresses of this host without brackets, separated by commas, each once, ${mostSources} at most, such as 10.0.0.2,10.0.0.3`,
    read: readSources,
    show: (addresses) => addresses.join(","),
  });

/**
 * An address of BACKENDS, and what stands behind it.
 *
 * @since 0.2.0
 * @category models
 */
export interface ListedBackend extends SocketAddress {
  readonly weight?: number;
  /** The most connections at a time. */
  readonly limit?: number;
  readonly role?: "backup";
}

type Terms = Omit<ListedBackend, keyof SocketAddress>;

const termWords = "weight=, max_connections= and backup";

// One word behind an address: what it says, or what is wrong with it.
const readTerm = (word: string): Terms | { readonly wrong: string } => {
  if (word === "backup") return { role: "backup" };
  const [, name = "", value = ""] = /^([^=]*)=(.*)$/.exec(word) ?? [];
  const isLimit = name === "max_connections" || name === "max_conns";
  if (name !== "weight" && !isLimit) {
    return { wrong: `${quote(word)} is none of ${termWords}` };
  }
  const { least, most } = isLimit ? limitBounds : weightBounds;
  const number = /^[0-9]{1,9}$/.test(value) ? Number(value) : Number.NaN;
  if (!(number >= least && number <= most)) {
    return { wrong: `${name} has to be a whole number from ${least} to ${most}` };
  }
  return isLimit ? { limit: number } : { weight: number };
};

const readTerms = (words: ReadonlyArray<string>): Terms | { readonly wrong: string } => {
  let terms: Terms = {};
  for (const word of words) {
    const term = readTerm(word);
    if ("wrong" in term) return term;
    if (Object.keys(term).some((name) => name in terms)) return { wrong: `${quote(word)} says it twice` };
    terms = { ...terms, ...term };
  }
  return terms;
};

const showBackend = ({ host, limit, port, role, weight }: ListedBackend): string =>
  [
    format({ host, port }),
    ...(weight === undefined ? [] : [`weight=${weight}`]),
    ...(limit === undefined ? [] : [`max_connections=${limit}`]),
    ...(role === undefined ? [] : [role]),
  ].join(" ");

const readBackends = (text: string): Either.Either<ReadonlyArray<ListedBackend>, string> => {
  const seen = new Set<string>();
  const backends: Array<ListedBackend> = [];
  const wrongs: Array<string> = [];
  const items = text.split(",").map((item) => item.trim());
  for (const [i, item] of items.entries()) {
    if (item === "") {
      wrongs.push(`item ${i + 1} of ${items.length} is empty`);
      continue;
    }
    const [first = "", ...words] = item.split(/\s+/);
    const address = parse(first);
    if ("wrong" in address) {
      wrongs.push(`${quote(item)}: ${address.wrong}`);
      continue;
    }
    const terms = readTerms(words);
    if ("wrong" in terms) {
      wrongs.push(`${quote(item)}: ${terms.wrong}`);
      continue;
    }
    const key = format({ host: canonicalHost(address.host), port: address.port });
    if (seen.has(key)) wrongs.push(`${quote(item)} is there twice`);
    seen.add(key);
    backends.push({ ...address, ...terms });
  }
  if (wrongs.length === 0) return Either.right(backends);
  const more = wrongs.length > 10 ? [`and ${wrongs.length - 10} more`] : [];
  return Either.left([...wrongs.slice(0, 10), ...more].join("; "));
};

/** A list of addresses and names with their ports, each once, and what stands behind them. */
export const backends = (name: string, about: string) =>
  withoutDefault<ReadonlyArray<ListedBackend>>({
    name,
    about,
    accepted: `host:port or [v6]:port, separated by commas, each once, and behind each, if need be, weight= (${weightBounds.least} to ${weightBounds.most}), max_connections= and backup, such as 10.0.0.1:3000 weight=3 max_connections=100,[2001:db8::5]:3000 backup`,
    read: readBackends,
    show: (list) => list.map(showBackend).join(","),
  });

/** The largest file of addresses, in bytes: half a million entries and more. */
const largestList = 16 * 1024 * 1024;

/** The text of a file that lists something; on the left, why it cannot be had. */
const readList = (path: string): Either.Either<string, string> =>
  Either.flatMap(
    Either.try({
      try: () => {
        const found = statSync(path);
        // A pipe could be waited on for ever.
        if (!found.isFile()) return Either.left(`${path} is not a file`);
        return found.size > largestList
          ? Either.left(`${path} is larger than ${largestList} bytes`)
          : Either.right(readFileSync(path, "utf8"));
      },
      catch: (cause) =>
        `${path} cannot be read (${cause instanceof Error && "code" in cause ? String(cause.code) : String(cause)})`,
    }),
    (text) => text,
  );

/** What stands on each line of a file but its comment, with where; lines without anything are left out. */
function* linesOf(path: string, text: string): Generator<{ readonly text: string; readonly where: string }> {
  for (const [i, line] of text
    .replace(/^\ufeff/, "")
    .split("\n")
    .entries()) {
    const entry = line.replace(/#.*$/s, "").trim();
    if (entry !== "") yield { text: entry, where: `${path} line ${i + 1}: ${quote(entry)}` };
  }
}

const readCidrs = (text: string, mayBeEmpty: boolean): Either.Either<CidrSet.CidrSet, string> => {
  const path = text.startsWith("@") ? text.slice(1).trim() : undefined;
  if (path === undefined) {
    const set = CidrSet.parse(text);
    return "wrong" in set ? Either.left(set.wrong) : Either.right(set);
  }
  if (!path.startsWith("/")) return Either.left("the path behind the @ does not begin with /");
  return Either.flatMap(readList(path), (content) => {
    const entries = [...linesOf(path, content)];
    if (entries.length === 0 && !mayBeEmpty) return Either.left(`${path} has no entries`);
    const set = CidrSet.fromEntries(entries, text);
    return "wrong" in set ? Either.left(set.wrong) : Either.right(set);
  });
};

/** A list of addresses and CIDRs, or a file that has them. `mayBeEmpty` is for files: whether none is a list too. */
export const cidrs = (
  name: string,
  about: string,
  { mayBeEmpty = false }: { readonly mayBeEmpty?: boolean } = {},
): Variable<CidrSet.CidrSet | undefined> =>
  withoutDefault<CidrSet.CidrSet>({
    name,
    about,
    accepted:
      "addresses and CIDRs separated by commas, such as 192.0.2.7,10.0.0.0/8,2001:db8::/32, or @ and the path of a file with one on each line and # before comments, such as @/etc/zeitwork/clients",
    read: (text) => readCidrs(text, mayBeEmpty),
    show: ({ text }) => (text.length > 200 ? `${text.slice(0, 200)}…` : text),
  });
