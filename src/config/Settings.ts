/**
 * Every setting of the program. {@link variables} is the one table they are defined in: reading the environment,
 * the error message, the start log and the documentation all follow from it.
 *
 * Settings are read through Effect's Config: from the process environment, or from whatever ConfigProvider the
 * program was given. A value is trimmed, and an empty one counts as unset.
 */
import { SocketAddress as Canonical, isIPv4, isIPv6 } from "node:net";
import { Config, type ConfigError, Data, Duration, Effect, Either, Option, Redacted } from "effect";
import * as IpAddress from "../net/IpAddress.js";
import { format, isIpAddress, parse, type SocketAddress } from "../net/SocketAddress.js";

export type LogLevelName = "debug" | "info" | "warn" | "error";
export type Environment = "development" | "staging" | "production";
/**
 * Which transport moves the bytes; `auto` is the Linux one where it runs, and Node's elsewhere; `io_uring` is the Linux
 * one by io_uring where the kernel allows it, and the Linux one elsewhere.
 */
export type TransportName = "auto" | "linux" | "io_uring" | "node";
/** Which connections the access log tells of: none, those that did not end in order, or all. */
export type AccessLogMode = "off" | "errors" | "all";
/** The name of a balancing algorithm; the program maps it to the algorithm itself. */
export type AlgorithmName = "round-robin" | "least-connections" | "ip-hash";

export interface Settings {
  /** PORT: where clients connect to, 0 to 65535; 0 is any free port. */
  readonly port: number;
  /** HEALTH_PORT: where monitoring is served over HTTP, 0 to 65535; 0 is any free port. */
  readonly healthPort: number;
  /**
   * BIND_ADDRESS: an IP address. Undefined (unset) is every address, IPv6 and IPv4, and IPv4 alone on a host
   * without IPv6; a `::` that was asked for stays `::`, and is an error on such a host.
   */
  readonly bindAddress: string | undefined;
  /** HEALTH_BIND_ADDRESS: as {@link bindAddress}. */
  readonly healthBindAddress: string | undefined;
  /** LOG_LEVEL: the least severe level that is logged. */
  readonly logLevel: LogLevelName;
  /** ENVIRONMENT: logs are JSON lines in production and staging, and made for reading in development. */
  readonly environment: Environment;
  /** OPERATOR_URL: http or https, without query and fragment. May carry credentials: never log it as it is. */
  readonly operatorUrl: URL;
  /** OPERATOR_TOKEN: fit to be part of a header. */
  readonly operatorToken: Redacted.Redacted | undefined;
  /** ADMIN_TOKEN: at least 16 characters; undefined when nobody may steer. */
  readonly adminToken: Redacted.Redacted | undefined;
  /** BACKENDS: at least one, IP addresses or names, each once; undefined when an Operator is to be asked. */
  readonly backends: ReadonlyArray<SocketAddress> | undefined;
  /** LB_ALGORITHM */
  readonly algorithm: AlgorithmName;
  /** DISCOVERY_INTERVAL: from the end of one poll to the start of the next. */
  readonly discoveryInterval: Duration.Duration;
  /** DISCOVERY_TIMEOUT: of one poll, the reading of its answer included. */
  readonly discoveryTimeout: Duration.Duration;
  /** HEALTH_CHECK_INTERVAL: between two probes of one backend. */
  readonly healthCheckInterval: Duration.Duration;
  /** HEALTH_CHECK_TIMEOUT: of one probe. */
  readonly healthCheckTimeout: Duration.Duration;
  /** HEALTH_CHECK_RISE: successes in a row that bring a backend up again, at least 1. */
  readonly healthCheckRise: number;
  /** HEALTH_CHECK_FALL: failures in a row that take a backend down, at least 1. */
  readonly healthCheckFall: number;
  /** CONNECT_TIMEOUT: of each try to connect to a backend. */
  readonly connectTimeout: Duration.Duration;
  /** CONNECT_RETRIES: further backends that are tried for one client, 0 to 100. */
  readonly connectRetries: number;
  /** LB_TRANSPORT */
  readonly transport: TransportName;
  /** ACCESS_LOG: which connections are logged when they are over. */
  readonly accessLog: AccessLogMode;
  /** DRAIN_TIMEOUT: how long open connections may run on after a signal; zero resets them at once. */
  readonly drainTimeout: Duration.Duration;
  /** OTEL_EXPORTER_OTLP_ENDPOINT: the collector that telemetry goes to; undefined when it goes nowhere. */
  readonly otlpEndpoint: URL | undefined;
  /** OTEL_EXPORTER_OTLP_HEADERS: sent with it. */
  readonly otlpHeaders: Redacted.Redacted<Readonly<Record<string, string>>> | undefined;
  /** OTEL_SERVICE_NAME */
  readonly otlpServiceName: string;
  /** OTEL_TRACES_SAMPLER_ARG: the part of connections that are sent as spans, 0 to 1. */
  readonly otlpSampling: number;
}

/** One environment variable, and all that is to be known of it. */
export interface Variable<A> {
  readonly name: string;
  /** What holds when it is unset, as one would write it; undefined when nothing does. */
  readonly default: string | undefined;
  /** What it is, in words that can stand in a table. */
  readonly about: string;
  /** What is accepted, in words that can follow "accepted:". */
  readonly accepted: string;
  /** The value that stands for "unset". */
  readonly unset: A;
  /** Reads a text that is trimmed and not empty; on the left, what is wrong with it. */
  readonly read: (text: string) => Either.Either<A, string>;
  /** The value as it may be printed: without secrets. */
  readonly show: (value: A) => string;
  /** A text that could not be read, as it may be printed: without secrets. */
  readonly showText: (text: string) => string;
}

/** A setting, or a pair of them that cannot be combined, that is wrong. */
export interface Problem {
  /** The variables concerned. */
  readonly names: ReadonlyArray<string>;
  /** One line: the names, the values (no secrets), what is wrong, and what is accepted. */
  readonly line: string;
}

/** Settings that cannot be used: all that are wrong, at once. The message is for the user, and has no secrets. */
export class SettingsError extends Data.TaggedError("SettingsError")<{
  readonly problems: ReadonlyArray<Problem>;
}> {
  override get message(): string {
    const { length } = this.problems;
    const head = length === 1 ? "1 setting is wrong:" : `${length} settings are wrong:`;
    return [head, ...this.problems.map(({ line }) => `  ${line}`)].join("\n");
  }
}

// A value as it may stand in a message: on one line, and not longer than one can read.
const quote = (text: string): string => {
  const shown = text.length > 200 ? `${text.slice(0, 200)}…` : text;
  // The characters that JSON leaves alone and a terminal does not.
  return JSON.stringify(shown).replace(/[\u007f-\u009f\u2028\u2029]/g, "\ufffd");
};

type Definition<A> = Pick<Variable<A>, "name" | "about" | "accepted" | "read" | "show"> &
  Partial<Pick<Variable<A>, "showText">>;

const withDefault = <A>(text: string, definition: Definition<A>): Variable<A> => ({
  showText: quote,
  ...definition,
  default: text,
  unset: Either.getOrThrowWith(definition.read(text), (wrong) => new Error(`${definition.name}: ${wrong}`)),
});

const withoutDefault = <A>(definition: Definition<A>): Variable<A | undefined> => ({
  showText: quote,
  ...definition,
  default: undefined,
  unset: undefined,
  show: (value) => (value === undefined ? "none" : definition.show(value)),
});

const integer = (name: string, text: string, about: string, least: number, most: number, note = "") =>
  withDefault<number>(text, {
    name,
    about,
    accepted: `a whole number from ${least} to ${most}${note}`,
    read: (given) => {
      if (!/^[+-]?[0-9]+$/.test(given)) return Either.left("it is not a whole number");
      const value = Number(given);
      if (value < least) return Either.left(`it is less than ${least}`);
      return value > most ? Either.left(`it is more than ${most}`) : Either.right(value);
    },
    show: String,
  });

const port = (name: string, text: string, about: string) =>
  integer(name, text, about, 0, 65535, " (0 is any free port)");

const anyAddress = "::";

// Unset is not the same as `::`: only the former may fall back to IPv4.
const address = (name: string, about: string): Variable<string | undefined> => ({
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
});

const oneOf = <A extends string>(
  name: string,
  text: A,
  about: string,
  choices: ReadonlyArray<A>,
  aliases: Readonly<Record<string, A>> = {},
) =>
  withDefault<A>(text, {
    name,
    about,
    accepted: [...choices, ...Object.keys(aliases)].join(", "),
    read: (given) => {
      const lower = given.toLowerCase();
      const value = choices.find((choice) => choice === lower) ?? new Map(Object.entries(aliases)).get(lower);
      return value === undefined ? Either.left("there is no such choice") : Either.right(value);
    },
    show: (value) => value,
  });

const token = (name: string, about: string, least: number) =>
  withoutDefault<Redacted.Redacted>({
    name,
    about,
    accepted: `${least > 1 ? `at least ${least} ` : ""}printable ASCII characters, on one line`,
    read: (text) => {
      if (!/^[\x20-\x7e]*$/.test(text))
        return Either.left("it has characters that cannot be sent in a header");
      return text.length < least
        ? Either.left(`it is shorter than ${least} characters`)
        : Either.right(Redacted.make(text));
    },
    show: String,
    showText: () => "<redacted>",
  });

const shortUnits = { ms: "millis", s: "seconds", m: "minutes", h: "hours", d: "days" } as const;

// Timers hold at most 2^31 - 1 ms (24.8 days), and intervals are jittered: this leaves them room.
const longest = Duration.days(20);

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

const duration = (name: string, text: string, about: string, least = Duration.millis(1), note = "") =>
  withDefault<Duration.Duration>(text, {
    name,
    about,
    accepted:
      `a number and its unit from ${formatDuration(least)} to ${formatDuration(longest)}${note}, ` +
      `such as 500ms, 5s, 1m, 2h, 1d or 5 seconds`,
    read: (given) =>
      Either.flatMap(readDuration(given), (value) => {
        if (Duration.lessThan(value, least)) {
          return Either.left(Duration.equals(value, Duration.zero) ? "it is zero" : "it is too short");
        }
        return Duration.greaterThan(value, longest) ? Either.left("it is too long") : Either.right(value);
      }),
    show: formatDuration,
  });

const ratio = (name: string, text: string, about: string) =>
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

const readBackends = (text: string): Either.Either<ReadonlyArray<SocketAddress>, string> => {
  const seen = new Set<string>();
  const backends: Array<SocketAddress> = [];
  const wrongs: Array<string> = [];
  const items = text.split(",").map((item) => item.trim());
  for (const [i, item] of items.entries()) {
    if (item === "") {
      wrongs.push(`item ${i + 1} of ${items.length} is empty`);
      continue;
    }
    const backend = parse(item);
    if ("wrong" in backend) {
      wrongs.push(`${quote(item)}: ${backend.wrong}`);
      continue;
    }
    const key = format({ host: canonical(backend.host), port: backend.port });
    if (seen.has(key)) wrongs.push(`${quote(item)} is there twice`);
    seen.add(key);
    backends.push(backend);
  }
  if (wrongs.length === 0) return Either.right(backends);
  const more = wrongs.length > 10 ? [`and ${wrongs.length - 10} more`] : [];
  return Either.left([...wrongs.slice(0, 10), ...more].join("; "));
};

/** Every variable, by the name of its field. */
export const table: { readonly [Field in keyof Settings]: Variable<Settings[Field]> } = {
  port: port("PORT", "8082", "the TCP port that clients connect to"),
  healthPort: port("HEALTH_PORT", "8083", "the port of the monitoring HTTP server"),
  bindAddress: address("BIND_ADDRESS", "the address that clients connect to"),
  healthBindAddress: address("HEALTH_BIND_ADDRESS", "the address of the monitoring HTTP server"),
  logLevel: oneOf<LogLevelName>(
    "LOG_LEVEL",
    "info",
    "the least severe level that is logged",
    ["debug", "info", "warn", "error"],
    { warning: "warn" },
  ),
  environment: oneOf<Environment>(
    "ENVIRONMENT",
    "development",
    "logs are JSON lines in production and staging, and made for reading in development",
    ["development", "staging", "production"],
  ),
  operatorUrl: withDefault<URL>("http://localhost:8080", {
    name: "OPERATOR_URL",
    about: "the Operator that lists the instances; a path prefix is kept",
    accepted:
      "an http:// or https:// URL without query and fragment, such as http://operator.internal:8080/prefix",
    read: readUrl,
    show: showUrl,
    showText: (text) => quote(withoutCredentials(text)),
  }),
  operatorToken: token("OPERATOR_TOKEN", "sent to the Operator as a bearer token; never logged", 1),
  backends: withoutDefault<ReadonlyArray<SocketAddress>>({
    name: "BACKENDS",
    about: "a fixed list in place of an Operator; names are resolved again on each DISCOVERY_INTERVAL",
    accepted:
      "host:port or [v6]:port, separated by commas, each once, such as 10.0.0.1:3000,[2001:db8::5]:3000",
    read: readBackends,
    show: (backends) => backends.map(format).join(","),
  }),
  adminToken: token(
    "ADMIN_TOKEN",
    "whoever sends it as a bearer token may drain, disable and enable backends; unset, nobody may; never logged",
    16,
  ),
  algorithm: oneOf<AlgorithmName>("LB_ALGORITHM", "round-robin", "how a backend is chosen for a connection", [
    "round-robin",
    "least-connections",
    "ip-hash",
  ]),
  discoveryInterval: duration("DISCOVERY_INTERVAL", "5s", "how often the list of backends is asked for"),
  discoveryTimeout: duration("DISCOVERY_TIMEOUT", "3s", "how long the answer may take"),
  healthCheckInterval: duration("HEALTH_CHECK_INTERVAL", "5s", "how often each backend is probed"),
  healthCheckTimeout: duration("HEALTH_CHECK_TIMEOUT", "2s", "how long a probe may take"),
  healthCheckRise: integer(
    "HEALTH_CHECK_RISE",
    "2",
    "successes in a row that bring a backend up again (a new one needs one)",
    1,
    1000,
  ),
  healthCheckFall: integer("HEALTH_CHECK_FALL", "3", "failures in a row that take a backend down", 1, 1000),
  connectTimeout: duration("CONNECT_TIMEOUT", "5s", "how long each try to connect to a backend may take"),
  connectRetries: integer(
    "CONNECT_RETRIES",
    "2",
    "how many further backends are tried when one cannot be connected to",
    0,
    100,
  ),
  transport: oneOf<TransportName>(
    "LB_TRANSPORT",
    "auto",
    "what moves the bytes: Linux's system calls, the same with io_uring where the kernel allows it, or Node's sockets; auto is linux where that can be used, otherwise node",
    ["auto", "linux", "io_uring", "node"],
  ),
  accessLog: oneOf<AccessLogMode>(
    "ACCESS_LOG",
    "errors",
    "which connections are logged when they are over: none, those that did not end in order, or all",
    ["off", "errors", "all"],
  ),
  drainTimeout: duration(
    "DRAIN_TIMEOUT",
    "30s",
    "how long open connections may run on after SIGTERM or SIGINT",
    Duration.zero,
    " (0s resets them at once)",
  ),
  otlpEndpoint: withoutDefault<URL>({
    name: "OTEL_EXPORTER_OTLP_ENDPOINT",
    about:
      "the OpenTelemetry collector (OTLP over HTTP) that log, metrics and spans go to; unset, nothing is sent",
    accepted: "an http:// or https:// URL without query and fragment, such as http://localhost:4318",
    read: readUrl,
    show: showUrl,
    showText: (text) => quote(withoutCredentials(text)),
  }),
  otlpHeaders: withoutDefault<Redacted.Redacted<Readonly<Record<string, string>>>>({
    name: "OTEL_EXPORTER_OTLP_HEADERS",
    about: "sent to the collector with everything; never logged",
    accepted: "name=value, separated by commas, with values percent-encoded where need be",
    read: readHeaders,
    show: String,
    showText: () => "<redacted>",
  }),
  otlpServiceName: withDefault<string>("zeitwork-load-balancer", {
    name: "OTEL_SERVICE_NAME",
    about: "the name under which the collector knows it",
    accepted: "at most 255 characters, on one line",
    read: (text) => {
      if (/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u.test(text)) return Either.left("it has control characters");
      return text.length > 255 ? Either.left("it is too long") : Either.right(text);
    },
    show: (value) => value,
  }),
  otlpSampling: ratio(
    "OTEL_TRACES_SAMPLER_ARG",
    "0.01",
    "the part of connections that are sent to the collector as spans",
  ),
};

/** Every variable, in the order in which the documentation lists them. */
export const variables: ReadonlyArray<Omit<Variable<unknown>, "show" | "unset">> = Object.values(table);

// Two spellings of one address have one canonical form.
const canonical = (host: string): string => {
  const [ip = "", zone] = host.split("%");
  if (!isIPv6(ip)) return host.toLowerCase();
  const mapped = IpAddress.canonical(new Canonical({ address: ip, family: "ipv6" }).address);
  return zone === undefined ? mapped : `${mapped}%${zone}`;
};

const overlap = (one: string | undefined, other: string | undefined): boolean => {
  const a = canonical(one ?? anyAddress);
  const b = canonical(other ?? anyAddress);
  const covers = (x: string, y: string) => x === anyAddress || (x === "0.0.0.0" && isIPv4(y));
  return a === b || covers(a, b) || covers(b, a);
};

// Settings that are well by themselves and cannot be combined.
const conflicts = (
  settings: Settings,
  sound: (...names: ReadonlyArray<string>) => boolean,
): Array<Problem> => {
  const problems: Array<Problem> = [];
  const { bindAddress, healthBindAddress, healthPort, operatorToken, operatorUrl } = settings;
  const addresses = sound(table.bindAddress.name, table.healthBindAddress.name);
  if (
    sound("PORT", "HEALTH_PORT") &&
    settings.port !== 0 &&
    settings.port === healthPort &&
    addresses &&
    overlap(bindAddress, healthBindAddress)
  ) {
    problems.push({
      names: ["PORT", "HEALTH_PORT"],
      line:
        `PORT and HEALTH_PORT are both ${healthPort}: both cannot listen there; ` +
        `accepted: two different ports, or a BIND_ADDRESS and a HEALTH_BIND_ADDRESS that do not overlap`,
    });
  }
  if (
    sound("OPERATOR_URL", "OPERATOR_TOKEN") &&
    operatorToken !== undefined &&
    `${operatorUrl.username}${operatorUrl.password}` !== ""
  ) {
    problems.push({
      names: ["OPERATOR_URL", "OPERATOR_TOKEN"],
      line:
        "OPERATOR_URL carries credentials and OPERATOR_TOKEN is set: there is one Authorization header for both; " +
        "accepted: one of the two",
    });
  }
  return problems;
};

/**
 * Reads every setting from the current ConfigProvider (the process environment, unless the program was given
 * another one). Fails with all that is wrong, not with the first.
 */
export const settings: Effect.Effect<Settings, SettingsError> = Effect.gen(function* () {
  const problems: Array<Problem> = [];

  const take = <A>(variable: Variable<A>): Effect.Effect<A> =>
    Effect.map(Effect.either(Config.option(Config.string(variable.name))), (found) => {
      const { name } = variable;
      if (Either.isLeft(found)) {
        problems.push({
          names: [name],
          line: `${name} cannot be read: ${explain(found.left)}; accepted: ${variable.accepted}`,
        });
        return variable.unset;
      }
      const text = Option.getOrElse(found.right, () => "").trim();
      if (text === "") return variable.unset;
      const value = variable.read(text);
      if (Either.isRight(value)) return value.right;
      const line = `${name}=${variable.showText(text)}: ${value.left}; accepted: ${variable.accepted}`;
      problems.push({ names: [name], line });
      return variable.unset;
    });

  const found: Settings = {
    port: yield* take(table.port),
    healthPort: yield* take(table.healthPort),
    bindAddress: yield* take(table.bindAddress),
    healthBindAddress: yield* take(table.healthBindAddress),
    logLevel: yield* take(table.logLevel),
    environment: yield* take(table.environment),
    operatorUrl: yield* take(table.operatorUrl),
    operatorToken: yield* take(table.operatorToken),
    backends: yield* take(table.backends),
    adminToken: yield* take(table.adminToken),
    algorithm: yield* take(table.algorithm),
    discoveryInterval: yield* take(table.discoveryInterval),
    discoveryTimeout: yield* take(table.discoveryTimeout),
    healthCheckInterval: yield* take(table.healthCheckInterval),
    healthCheckTimeout: yield* take(table.healthCheckTimeout),
    healthCheckRise: yield* take(table.healthCheckRise),
    healthCheckFall: yield* take(table.healthCheckFall),
    connectTimeout: yield* take(table.connectTimeout),
    connectRetries: yield* take(table.connectRetries),
    transport: yield* take(table.transport),
    accessLog: yield* take(table.accessLog),
    drainTimeout: yield* take(table.drainTimeout),
    otlpEndpoint: yield* take(table.otlpEndpoint),
    otlpHeaders: yield* take(table.otlpHeaders),
    otlpServiceName: yield* take(table.otlpServiceName),
    otlpSampling: yield* take(table.otlpSampling),
  };
  const wrong = new Set(problems.flatMap(({ names }) => names));
  problems.push(...conflicts(found, (...names) => names.every((name) => !wrong.has(name))));
  return problems.length === 0 ? found : yield* new SettingsError({ problems });
});

// The provider's words, on one line. Values do not occur in them: a text can always be read as a text.
const explain = (error: ConfigError.ConfigError): string => String(error).replace(/\s+/g, " ");

const showField = <A>(variable: Variable<A>, value: A): readonly [string, string] => [
  variable.name,
  variable.show(value),
];

/** The settings by the names of their variables, as they may be printed: without any secret. */
export const describe = (settings: Settings): Readonly<Record<string, string>> =>
  Object.fromEntries([
    showField(table.port, settings.port),
    showField(table.healthPort, settings.healthPort),
    showField(table.bindAddress, settings.bindAddress),
    showField(table.healthBindAddress, settings.healthBindAddress),
    showField(table.logLevel, settings.logLevel),
    showField(table.environment, settings.environment),
    showField(table.operatorUrl, settings.operatorUrl),
    showField(table.operatorToken, settings.operatorToken),
    showField(table.backends, settings.backends),
    showField(table.adminToken, settings.adminToken),
    showField(table.algorithm, settings.algorithm),
    showField(table.discoveryInterval, settings.discoveryInterval),
    showField(table.discoveryTimeout, settings.discoveryTimeout),
    showField(table.healthCheckInterval, settings.healthCheckInterval),
    showField(table.healthCheckTimeout, settings.healthCheckTimeout),
    showField(table.healthCheckRise, settings.healthCheckRise),
    showField(table.healthCheckFall, settings.healthCheckFall),
    showField(table.connectTimeout, settings.connectTimeout),
    showField(table.connectRetries, settings.connectRetries),
    showField(table.transport, settings.transport),
    showField(table.accessLog, settings.accessLog),
    showField(table.drainTimeout, settings.drainTimeout),
    showField(table.otlpEndpoint, settings.otlpEndpoint),
    showField(table.otlpHeaders, settings.otlpHeaders),
    showField(table.otlpServiceName, settings.otlpServiceName),
    showField(table.otlpSampling, settings.otlpSampling),
  ]);
