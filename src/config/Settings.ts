/**
 * Every setting of the program, each defined once, in {@link table}. The type {@link Settings}, the defaults, the
 * reader, `--help`, docs/settings.md and deployments/config/load-balancer.env follow from it.
 *
 * Settings are read through Effect's Config: from the process environment, or from another ConfigProvider.
 *
 * @example
 * ```ts
 * import { Config, ConfigProvider, Effect } from "effect"
 * import { Settings } from "zeitwork-load-balancer"
 *
 * const program = Effect.gen(function* () {
 *   const { settings, team } = yield* Config.all({ settings: Settings.config, team: Config.string("TEAM") })
 *   yield* Effect.log(`${team} listens on port ${settings.port}`)
 * })
 *
 * // The same with a prefix for all variables: LB_PORT, LB_TEAM. (ConfigProvider.nested splits every value at its
 * // commas, so it does not work for BACKENDS.)
 * const prefixed = Effect.withConfigProvider(
 *   program,
 *   ConfigProvider.mapInputPath(ConfigProvider.fromEnv(), (name) => `LB_${name}`),
 * )
 * ```
 */
import { isIPv4 } from "node:net";
import { Config, ConfigError, Data, Duration, Effect, Either, LogLevel, Record } from "effect";
import { type AlgorithmName, algorithmNames } from "../balancing/Algorithms.js";
import { limitBounds } from "../balancing/Members.js";
import * as Kinds from "./Kinds.js";
import { leastAdminToken } from "./Token.js";
import * as Variable from "./Variable.js";

export type { Count, ListedBackend, Rate } from "./Kinds.js";
export type { Readable, Variable } from "./Variable.js";

/**
 * The name of a balancing algorithm.
 *
 * @since 0.2.0
 * @category models
 */
export type { AlgorithmName };

/**
 * What the log looks like: JSON lines in production and staging, made for reading in development.
 *
 * @since 0.2.0
 * @category models
 */
export type EnvironmentName = "development" | "staging" | "production";

/**
 * Which transport moves the bytes. `auto` is `linux` where it runs and `node` elsewhere; `io_uring` is `linux` where
 * the kernel does not allow it.
 *
 * @since 0.2.0
 * @category models
 */
export type TransportName = "auto" | "linux" | "io_uring" | "node";

/**
 * The version of the PROXY header that backends are sent, or none.
 *
 * @since 0.2.0
 * @category models
 */
export type ProxyProtocolTo = "off" | "v1" | "v2";

/**
 * Which connections are in the access log: none, those that did not end in order, or all.
 *
 * @since 0.2.0
 * @category models
 */
export type AccessLogMode = "off" | "errors" | "all";

/**
 * What becomes of the connections that a backend has when it goes down.
 *
 * @since 0.2.0
 * @category models
 */
export type OnBackendDown = "keep" | "reset";

/**
 * Every variable, by the name of its field, in the order in which the documentation lists them.
 *
 * @since 0.2.0
 * @category constants
 */
export const table = {
  /** Where clients connect to; 0 is any free port. */
  port: Kinds.port("PORT", "8082", "the TCP port that clients connect to"),
  /** Where monitoring is served over HTTP; 0 is any free port. */
  healthPort: Kinds.port("HEALTH_PORT", "8083", "the port of the monitoring HTTP server"),
  /**
   * Undefined (unset) is every address, IPv6 and IPv4, and IPv4 alone on a host without IPv6; a `::` that was asked for
   * stays `::`, and is an error on such a host.
   */
  bindAddress: Kinds.address("BIND_ADDRESS", "the address that clients connect to"),
  /** As `bindAddress`, of the monitoring server. */
  healthBindAddress: Kinds.address(
    "HEALTH_BIND_ADDRESS",
    "the address of the monitoring HTTP server, which asks for no password: 127.0.0.1 keeps it on this host",
  ),
  /** The least severe level that is logged. */
  logLevel: Kinds.choice("LOG_LEVEL", "info", "the least severe level that is logged", {
    debug: LogLevel.Debug,
    info: LogLevel.Info,
    warn: LogLevel.Warning,
    error: LogLevel.Error,
    warning: LogLevel.Warning,
  }),
  environment: Kinds.oneOf<EnvironmentName>(
    "ENVIRONMENT",
    "development",
    "logs are JSON lines in production and staging, and made for reading in development",
    ["development", "staging", "production"],
  ),
  /** Http or https, without query and fragment. May carry credentials: it is never logged as it is. */
  operatorUrl: Kinds.url(
    "OPERATOR_URL",
    "http://localhost:8080",
    "the Operator that lists the instances; a path prefix is kept",
    "http://operator.internal:8080/prefix",
  ),
  operatorToken: Kinds.token("OPERATOR_TOKEN", "sent to the Operator as a bearer token; never logged", 1),
  /** At least one, IP addresses or names, each once; undefined when an Operator is to be asked. */
  backends: Kinds.backends(
    "BACKENDS",
    "a fixed list in place of an Operator; names are resolved again on each DISCOVERY_INTERVAL",
  ),
  /** Undefined if steering is off. */
  adminToken: Kinds.token(
    "ADMIN_TOKEN",
    "the bearer token with which backends may be steered, and open connections listed and cut; unset, nobody may; never logged",
    leastAdminToken,
  ),
  algorithm: Kinds.oneOf<AlgorithmName>(
    "LB_ALGORITHM",
    "round-robin",
    "how a backend is chosen for a connection",
    algorithmNames,
  ),
  /** From the end of one poll to the start of the next. */
  discoveryInterval: Kinds.duration(
    "DISCOVERY_INTERVAL",
    "5s",
    "how often the list of backends is asked for",
  ),
  /** Of one poll, the reading of its answer included. */
  discoveryTimeout: Kinds.duration("DISCOVERY_TIMEOUT", "3s", "how long the answer may take"),
  /** Between two probes of one backend. */
  healthCheckInterval: Kinds.duration("HEALTH_CHECK_INTERVAL", "5s", "how often each backend is probed"),
  healthCheckTimeout: Kinds.duration("HEALTH_CHECK_TIMEOUT", "2s", "how long a probe may take"),
  healthCheckRise: Kinds.count(
    "HEALTH_CHECK_RISE",
    "2",
    "successes in a row that bring a backend up again (a new one needs one)",
    { least: 1, most: 1000 },
  ),
  healthCheckFall: Kinds.count("HEALTH_CHECK_FALL", "3", "failures in a row that take a backend down", {
    least: 1,
    most: 1000,
  }),
  connectTimeout: Kinds.duration(
    "CONNECT_TIMEOUT",
    "5s",
    "how long each try to connect to a backend may take",
  ),
  /** Further backends that are tried for one client. */
  connectRetries: Kinds.count(
    "CONNECT_RETRIES",
    "2",
    "how many further backends are tried when one cannot be connected to",
    { least: 0, most: 100 },
  ),
  /** Undefined where the kernel chooses. */
  sourceAddresses: Kinds.sources(
    "SOURCE_ADDRESSES",
    "addresses of this host from which backends are connected to, in turn: with each there can be 28,000 more connections to one backend; a backend of a family that has none here is connected to from the address that the kernel chooses, as all are where this is unset",
  ),
  /** Undefined is for ever. */
  idleTimeout: Kinds.optionalDuration(
    "IDLE_TIMEOUT",
    "for how long a connection may be open without a byte that is read from either side or acknowledged by it: it is reset then; unset, for ever",
  ),
  /** Undefined is for ever. */
  halfClosedTimeout: Kinds.optionalDuration(
    "HALF_CLOSED_TIMEOUT",
    "the same for a connection of which one side has sent FIN",
  ),
  /** Undefined is for ever. */
  maxConnectionAge: Kinds.optionalDuration(
    "MAX_CONNECTION_AGE",
    "how long a connection may be open, a tenth more or less, drawn for each: it is reset then, and its client comes again to whichever backend is to be had; unset, for ever",
  ),
  onBackendDown: Kinds.oneOf<OnBackendDown>(
    "ON_BACKEND_DOWN",
    "keep",
    "what becomes of the connections that a backend has when it goes down: they are kept for as long as they last, or reset",
    ["keep", "reset"],
  ),
  transport: Kinds.oneOf<TransportName>(
    "LB_TRANSPORT",
    "auto",
    "what moves the bytes: Linux's system calls, the same with io_uring where the kernel allows it, or Node's sockets; auto is linux where that can be used, otherwise node",
    ["auto", "linux", "io_uring", "node"],
  ),
  /** Zero has the main thread do it. */
  threads: Kinds.countOrAuto(
    "LB_THREADS",
    "0",
    "how many data threads connect to backends and move bytes, on the transports linux and io_uring; 0 has the main thread do it, auto is one for each processor that the program may use, 8 at most, and 0 where that is one",
    { least: 0, most: 64 },
  ),
  resetOnCrash: Kinds.flag(
    "RESET_ON_CRASH",
    "true",
    "whether the kernel resets clients when this program is killed, so that a part of an answer does not pass for all of it; false spares each connection a system call (0.3 to 2 µs) and leaves out the first seconds of a connection. On the transports linux and io_uring",
  ),
  accessLog: Kinds.oneOf<AccessLogMode>(
    "ACCESS_LOG",
    "errors",
    "which connections are logged when they are over: none, those that did not end in order, or all",
    ["off", "errors", "all"],
  ),
  /** Undefined if no peer sends a PROXY header. */
  proxyProtocolFrom: Kinds.cidrs(
    "PROXY_PROTOCOL_FROM",
    "where connections come from that must begin with a PROXY header, version 1 or 2: balancers in front of this one; the client that it names is the client for lists, limits, ip-hash, the log and the metrics",
  ),
  proxyProtocolTo: Kinds.oneOf<ProxyProtocolTo>(
    "PROXY_PROTOCOL_TO",
    "off",
    "the version of the PROXY header that each backend is sent first, with the client's address and the one that it connected to; backends have to expect it",
    ["off", "v1", "v2"],
  ),
  proxyProtocolTimeout: Kinds.duration(
    "PROXY_PROTOCOL_TIMEOUT",
    "5s",
    "how long a PROXY header may take to arrive",
  ),
  /** Undefined if all clients are allowed that are not denied. */
  allowClients: Kinds.cidrs(
    "ALLOW_CLIENTS",
    "the only clients that are served: all others are reset before a backend is chosen",
  ),
  /** Undefined if no client is denied. */
  denyClients: Kinds.cidrs(
    "DENY_CLIENTS",
    "clients that are reset before a backend is chosen, those of ALLOW_CLIENTS too",
    { mayBeEmpty: true },
  ),
  /** Undefined where that is as many as the descriptors allow. */
  maxConnections: Kinds.limit(
    "MAX_CONNECTIONS",
    "how many connections there may be at a time: further clients wait until one has ended, and are reset, a few each second, once none has for 10 seconds; unset, as many as the descriptors allow",
    { least: 1, most: 1_000_000 },
  ),
  /** Undefined where there is no limit. */
  maxConnectionsPerBackend: Kinds.limit(
    "MAX_CONNECTIONS_PER_BACKEND",
    "how many connections a backend may have at a time: one that has so many is passed over, and when all are full clients wait (QUEUE_TIMEOUT); what BACKENDS or the Operator says of a backend goes before it; unset, as many as come",
    limitBounds,
  ),
  queueTimeout: Kinds.duration(
    "QUEUE_TIMEOUT",
    "5s",
    "how long a client waits for a place while all healthy backends have as many connections as they may have; then it is reset",
  ),
  queueLimit: Kinds.count(
    "QUEUE_LIMIT",
    "1024",
    "how many clients may wait for a place at a backend; further ones are reset",
    { least: 0, most: 10_000 },
    " (0: none waits)",
  ),
  /** Zero gives a backend that comes up its whole share at once. */
  slowStart: Kinds.duration(
    "SLOW_START",
    "0s",
    "over how long a backend that comes up, a new one too, gets from a tenth of its share to all of it, a tenth at a time; those of the first list that are up at their first check have all of it at once",
    { least: Duration.zero, note: " (0s gives it at once)" },
  ),
  /** Undefined where there is no limit. */
  maxConnectionsPerClient: Kinds.limit(
    "MAX_CONNECTIONS_PER_CLIENT",
    "how many connections one client may have at a time, further ones are reset; an IPv6 client is its /64; unset, as many as it likes",
    { least: 1, most: 1_000_000 },
  ),
  /** Undefined where there is no limit. */
  maxConnectionRatePerClient: Kinds.rate(
    "MAX_CONNECTION_RATE_PER_CLIENT",
    "how many connections one client may make in a second or a minute, all at once or one after another, further ones are reset; an IPv6 client is its /64; unset, as many as it likes",
  ),
  /** Undefined where none is kept. */
  stateFile: Kinds.filePath(
    "STATE_FILE",
    "a file in which the last list of backends and what was steered are kept: after a restart that list serves until the first discovery succeeds, and a drained backend stays drained; unset, nothing is kept",
  ),
  /** Zero begins the drain at once. */
  shutdownDelay: Kinds.duration(
    "SHUTDOWN_DELAY",
    "0s",
    "for how long clients are taken after SIGTERM, SIGINT or SIGQUIT while /readyz says 503, so that whatever stands in front sends them elsewhere before any is refused; then open connections are drained",
    { least: Duration.zero, note: " (0s drains at once)" },
  ),
  /** Zero resets open connections at once. */
  drainTimeout: Kinds.duration(
    "DRAIN_TIMEOUT",
    "30s",
    "how long open connections may run on after SIGTERM, SIGINT or SIGQUIT, and SHUTDOWN_DELAY",
    { least: Duration.zero, note: " (0s resets them at once)" },
  ),
  // OpenTelemetry's own variables are often set for many programs at once: a wrong one never stops the start.
  // https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
  /** True when telemetry goes nowhere, wherever `otlpEndpoint` is. */
  otlpDisabled: Variable.ignoringWrong(
    Kinds.flag("OTEL_SDK_DISABLED", "false", "whether nothing is sent to the collector, wherever it is"),
  ),
  /** Undefined when telemetry goes nowhere. */
  otlpEndpoint: Variable.ignoringWrong(
    Kinds.optionalUrl(
      "OTEL_EXPORTER_OTLP_ENDPOINT",
      "the OpenTelemetry collector (OTLP over HTTP) that log, metrics and spans go to; unset, nothing is sent",
      "http://localhost:4318",
    ),
  ),
  otlpHeaders: Variable.ignoringWrong(
    Kinds.headers("OTEL_EXPORTER_OTLP_HEADERS", "sent to the collector with everything; never logged"),
  ),
  otlpServiceName: Variable.ignoringWrong(
    Kinds.label("OTEL_SERVICE_NAME", "zeitwork-load-balancer", "the name under which the collector knows it"),
  ),
  /** `ratio` is that of `otlpSampling`. Each connection is a trace of its own, so that no parent decides. */
  otlpSampler: Variable.ignoringWrong(
    Kinds.choice(
      "OTEL_TRACES_SAMPLER",
      "traceidratio",
      "which connections are sent to the collector as spans: a part of them, all, or none",
      {
        traceidratio: "ratio",
        always_on: "all",
        always_off: "none",
        parentbased_traceidratio: "ratio",
        parentbased_always_on: "all",
        parentbased_always_off: "none",
      } as const,
    ),
  ),
  /** From 0 to 1. */
  otlpSampling: Variable.ignoringWrong(
    Kinds.ratio(
      "OTEL_TRACES_SAMPLER_ARG",
      "0.01",
      "the part of connections that are sent to the collector as spans",
    ),
  ),
};

/**
 * The settings that hold. Durations are within what a timer holds, secrets are `Redacted`.
 *
 * @since 0.2.0
 * @category models
 */
export type Settings = {
  readonly [Field in keyof typeof table]: (typeof table)[Field] extends Variable.Variable<infer A>
    ? A
    : never;
};

type Field = keyof Settings;

const fields: { readonly [F in Field]: Variable.Variable<Settings[F]> } = table;

/**
 * Every variable, in the order in which the documentation lists them.
 *
 * @since 0.2.0
 * @category constants
 */
export const variables: ReadonlyArray<
  Pick<Variable.Readable<unknown>, "name" | "default" | "about" | "accepted">
> = Object.values(table);

/**
 * What holds in an empty environment.
 *
 * @since 0.2.0
 * @category accessors
 */
export const defaults = Record.map(
  table,
  (variable) => variable.unset,
) as Settings; /* each from its own variable */

const showField = <F extends Field>(settings: Settings, field: F): readonly [string, string] => [
  fields[field].name,
  fields[field].show(settings[field]),
];

/**
 * The settings by the names of their variables, as they may be printed: without any secret.
 *
 * @since 0.2.0
 * @category accessors
 */
export const describe = (settings: Settings): Readonly<Record<string, string>> =>
  Object.fromEntries(Record.keys(table).map((field) => showField(settings, field)));

/**
 * A setting, or a pair of them that cannot be combined, that is wrong.
 *
 * @since 0.2.0
 * @category models
 */
export interface Problem {
  /** The variables concerned. */
  readonly names: ReadonlyArray<string>;
  /** One line: the names, the values (no secrets), what is wrong, and what is accepted. */
  readonly line: string;
}

/**
 * Settings that cannot be used: all that are wrong, at once. The message is for the user, and has no secrets.
 *
 * @since 0.2.0
 * @category errors
 */
export class SettingsError extends Data.TaggedError("SettingsError")<{
  readonly problems: ReadonlyArray<Problem>;
}> {
  override get message(): string {
    const { length } = this.problems;
    const head = length === 1 ? "1 setting is wrong:" : `${length} settings are wrong:`;
    return [head, ...this.problems.map(({ line }) => `  ${line}`)].join("\n");
  }
}

/** Settings that are right by themselves and cannot be combined. */
interface Conflict {
  /** Looked at only where each of these could be read. */
  readonly fields: ReadonlyArray<Field>;
  /** The variables that the message names. */
  readonly between: readonly [Field, Field];
  readonly holds: (settings: Settings) => boolean;
  readonly line: (settings: Settings, one: string, other: string) => string;
}

const overlap = (one: string | undefined, other: string | undefined): boolean => {
  const a = Kinds.canonicalHost(one ?? Kinds.anyAddress);
  const b = Kinds.canonicalHost(other ?? Kinds.anyAddress);
  const covers = (x: string, y: string) => x === Kinds.anyAddress || (x === "0.0.0.0" && isIPv4(y));
  return a === b || covers(a, b) || covers(b, a);
};

const conflicts: ReadonlyArray<Conflict> = [
  {
    fields: ["port", "healthPort", "bindAddress", "healthBindAddress"],
    between: ["port", "healthPort"],
    holds: ({ bindAddress, healthBindAddress, healthPort, port }) =>
      port !== 0 && port === healthPort && overlap(bindAddress, healthBindAddress),
    line: ({ port }, one, other) =>
      `${one} and ${other} are both ${port}: both cannot listen there; ` +
      `accepted: two different ports, or a BIND_ADDRESS and a HEALTH_BIND_ADDRESS that do not overlap`,
  },
  {
    fields: ["threads", "transport"],
    between: ["threads", "transport"],
    holds: ({ threads, transport }) => threads !== "auto" && threads > 0 && transport === "node",
    line: ({ threads, transport }, one, other) =>
      `${one} is ${threads} and ${other} is ${transport}, which has no data threads; ` +
      `accepted: ${one}=0, or ${other}=linux, io_uring or auto`,
  },
  {
    fields: ["operatorUrl", "operatorToken"],
    between: ["operatorUrl", "operatorToken"],
    holds: ({ operatorToken, operatorUrl }) =>
      operatorToken !== undefined && `${operatorUrl.username}${operatorUrl.password}` !== "",
    line: (_, one, other) =>
      `${one} carries credentials and ${other} is set: there is one Authorization header for both; ` +
      "accepted: one of the two",
  },
];

/**
 * The settings as an effect `Config`, to be combined with others of a program, nested or read from any
 * `ConfigProvider`. An invalid value is an error; use {@link settings} for messages that name the variables as the user
 * wrote them.
 *
 * @since 0.2.0
 * @category config
 */
export const config: Config.Config<Settings> = Config.mapOrFail(
  Config.all(Record.map(table, (variable: Variable.Readable<unknown>) => Variable.config(variable))),
  (values) => {
    const settings = values as Settings; /* each from its own variable */
    const found = conflicts.find(({ holds }) => holds(settings));
    if (found === undefined) return Either.right(settings);
    const [one, other] = found.between;
    return Either.left(ConfigError.InvalidData([], found.line(settings, table[one].name, table[other].name)));
  },
);

/** What one provider says: of several, the one that found a value. */
const leafOf = (
  error: ConfigError.ConfigError,
): Exclude<ConfigError.ConfigError, ConfigError.And | ConfigError.Or> => {
  if (error._op !== "And" && error._op !== "Or") return error;
  const left = leafOf(error.left);
  return left._op === "MissingData" ? leafOf(error.right) : left;
};

/** Fails whether there is a value or not, and both errors have the path at which it was looked for. */
const nowhere: Config.Config<never> = Config.primitive("", () =>
  Either.left(ConfigError.InvalidData([], "")),
);

/** The name that the current ConfigProvider knows a variable by: with the prefix of a nested one. */
const nameOf = ({ name }: { readonly name: string }): Effect.Effect<string> =>
  Effect.map(Effect.flip(Config.nested(nowhere, name)), (error) => leafOf(error).path.join("_") || name);

/** The one line about a value that could not be read. */
const lineOf = (accepted: string, name: string, error: ConfigError.ConfigError): string => {
  const leaf = leafOf(error);
  if (leaf._op === "InvalidData") return `${name}=${leaf.message}`;
  // The provider's words, on one line. Values do not occur in them.
  return `${name} cannot be read: ${String(error).replace(/\s+/g, " ")}; accepted: ${accepted}`;
};

/**
 * The settings that hold, and what was ignored in reading them.
 *
 * @since 0.2.0
 * @category models
 */
export interface Found {
  readonly settings: Settings;
  /** Wrong values that do not stop the start. */
  readonly warnings: ReadonlyArray<Problem>;
}

/**
 * Reads every setting from the current ConfigProvider (the process environment, unless the program was given
 * another one). Fails with all that is wrong, not with the first.
 *
 * @since 0.2.0
 * @category config
 */
export const read: Effect.Effect<Found, SettingsError> = Effect.gen(function* () {
  const problems: Array<Problem> = [];
  const warnings: Array<Problem> = [];
  const wrong = new Set<Field>();
  const values: Partial<Record<Field, unknown>> = {};
  for (const field of Record.keys(table)) {
    const variable: Variable.Readable<unknown> = table[field];
    const value = yield* Effect.either(Variable.strict(variable));
    values[field] = Either.getOrElse(value, () => variable.unset);
    if (Either.isRight(value)) continue;
    const name = yield* nameOf(variable);
    const problem = { names: [name], line: lineOf(variable.accepted, name, value.left) };
    if (variable.whenWrong === "ignore") {
      warnings.push(problem);
    } else {
      wrong.add(field);
      problems.push(problem);
    }
  }
  const settings = values as Settings; /* each from its own variable */
  for (const conflict of conflicts) {
    if (conflict.fields.some((field) => wrong.has(field)) || !conflict.holds(settings)) continue;
    const one = yield* nameOf(table[conflict.between[0]]);
    const other = yield* nameOf(table[conflict.between[1]]);
    problems.push({ names: [one, other], line: conflict.line(settings, one, other) });
  }
  return problems.length === 0 ? { settings, warnings } : yield* new SettingsError({ problems });
});

/**
 * The settings alone; see {@link read}.
 *
 * @since 0.2.0
 * @category config
 */
export const settings: Effect.Effect<Settings, SettingsError> = Effect.map(read, ({ settings }) => settings);
