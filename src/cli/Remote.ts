/**
 * A running balancer, asked over its monitoring port.
 */

import type { HttpApiDecodeError } from "@effect/platform/HttpApiError";
import type * as HttpClient from "@effect/platform/HttpClient";
import type * as HttpClientError from "@effect/platform/HttpClientError";
import { Duration, Effect, type ParseResult, type Redacted } from "effect";
import { type Settings, table } from "../config/Settings.js";
import { printable } from "../log/ForeignText.js";
import type {
  Connection,
  Connections,
  InvalidRequest,
  Status,
  SteeredBackend,
  SteeringOff,
  Unauthorized,
} from "../monitoring/Api.js";
import * as MonitoringClient from "../monitoring/MonitoringClient.js";
import { format } from "../net/SocketAddress.js";
import { CommandError, EX_USAGE } from "./CommandError.js";

/** How long one answer may take. */
const patience = Duration.seconds(5);

/** What becomes of a backend; of a weight, null gives it back to discovery. */
export type Choice = "drain" | "enable" | "disable" | { readonly weight: number | null };

/** Where the balancer that has these settings is asked, from the same host. */
export const urlOf = ({ healthBindAddress, healthPort }: Settings): string => {
  const everywhere =
    healthBindAddress === undefined || healthBindAddress === "::" || healthBindAddress === "0.0.0.0";
  return `http://${format({ host: everywhere ? "127.0.0.1" : healthBindAddress, port: healthPort })}`;
};

/** That no load balancer responds, in one line. */
export const unreachable = (url: string, why: string): CommandError =>
  new CommandError({
    message: `no load balancer answers at ${url} (${printable(why)}): is it running? Say where with --url, or with HEALTH_PORT and HEALTH_BIND_ADDRESS`,
    code: 1,
  });

const foreign = (url: string, why: string): CommandError =>
  new CommandError({
    message: `what answers at ${url} is not a load balancer of this version (${printable(why)})`,
    code: 1,
  });

const causeOf = (error: HttpClientError.RequestError): string => {
  const { cause } = error;
  if (cause instanceof Error && "code" in cause && typeof cause.code === "string") return cause.code;
  return cause instanceof Error ? cause.message : error.message;
};

type AskingError =
  | HttpClientError.HttpClientError
  | HttpApiDecodeError
  | ParseResult.ParseError
  | CommandError;

/** What went wrong in asking, as the user reads it. */
const commandErrorOf = (url: string, error: AskingError): CommandError => {
  switch (error._tag) {
    case "CommandError":
      return error;
    case "RequestError":
      return unreachable(url, causeOf(error));
    case "ResponseError":
      return foreign(url, `status ${error.response.status}`);
    case "HttpApiDecodeError":
    case "ParseError":
      return foreign(url, "its answer cannot be read");
  }
};

const inTime =
  (url: string) =>
  <A, E, R>(asking: Effect.Effect<A, E, R>): Effect.Effect<A, E | CommandError, R> =>
    Effect.timeoutFail(asking, {
      duration: patience,
      onTimeout: () => unreachable(url, `no answer within ${Duration.format(patience)}`),
    });

/** Everything it knows. */
export const status = (url: string): Effect.Effect<typeof Status.Type, CommandError, HttpClient.HttpClient> =>
  MonitoringClient.make({ url }).pipe(
    Effect.flatMap((client) => client.live.status()),
    inTime(url),
    Effect.mapError((error) => commandErrorOf(url, error)),
  );

/** The token of the environment, which all that steers needs. */
const withToken = <A>(
  adminToken: Redacted.Redacted | undefined,
  use: (adminToken: Redacted.Redacted) => Effect.Effect<A, CommandError, HttpClient.HttpClient>,
): Effect.Effect<A, CommandError, HttpClient.HttpClient> =>
  adminToken === undefined
    ? new CommandError({
        message: `${table.adminToken.name} is not set: set it to what the load balancer was started with`,
        code: EX_USAGE,
      })
    : use(adminToken);

/** Why somebody may not, or what was wrong with what was asked. */
const refusalOf = (url: string, error: Unauthorized | SteeringOff | InvalidRequest): CommandError => {
  const { name } = table.adminToken;
  switch (error._tag) {
    case "Unauthorized":
      return new CommandError({
        message: `${url} does not accept this ${name}: it was started with another`,
        code: 1,
      });
    case "SteeringOff":
      return new CommandError({
        message: `steering is off at ${url}: start the load balancer with ${name} set`,
        code: 1,
      });
    case "InvalidRequest":
      return new CommandError({ message: printable(error.message, 300), code: 1 });
  }
};

/** What is asked of the open connections, as it was typed. */
export interface ConnectionsAsked {
  readonly order?: string;
  readonly limit?: string;
  readonly backend?: string;
  readonly client?: string;
}

/** Some of the open connections. */
export const connections = (
  url: string,
  adminToken: Redacted.Redacted | undefined,
  urlParams: ConnectionsAsked,
): Effect.Effect<typeof Connections.Type, CommandError, HttpClient.HttpClient> =>
  withToken(adminToken, (token) =>
    MonitoringClient.make({ url, adminToken: token }).pipe(
      Effect.flatMap(({ steering }) => steering.connections({ urlParams })),
      inTime(url),
      Effect.mapError((error) => {
        switch (error._tag) {
          case "Unauthorized":
          case "SteeringOff":
          case "InvalidRequest":
            return refusalOf(url, error);
          default:
            return commandErrorOf(url, error);
        }
      }),
    ),
  );

/** Resets an open connection; answers what it was. */
export const cut = (
  url: string,
  adminToken: Redacted.Redacted | undefined,
  id: string,
): Effect.Effect<typeof Connection.Type, CommandError, HttpClient.HttpClient> =>
  withToken(adminToken, (token) =>
    MonitoringClient.make({ url, adminToken: token }).pipe(
      Effect.flatMap(({ steering }) => steering.cut({ path: { id } })),
      inTime(url),
      Effect.mapError((error) => {
        switch (error._tag) {
          case "Unauthorized":
          case "SteeringOff":
            return refusalOf(url, error);
          case "UnknownConnection":
            return new CommandError({ message: `no connection ${printable(id)} is open`, code: 1 });
          default:
            return commandErrorOf(url, error);
        }
      }),
    ),
  );

/**
 * Steers a backend, or all addresses of a name; returns their state after that. The id may be the beginning of one, if
 * it is that of no other.
 */
export const steer = (
  url: string,
  adminToken: Redacted.Redacted | undefined,
  choice: Choice,
  id: string,
): Effect.Effect<typeof SteeredBackend.Type, CommandError, HttpClient.HttpClient> =>
  withToken(adminToken, (token) => {
    const steerExactly = (
      exact: string,
      otherwise: Effect.Effect<typeof SteeredBackend.Type, CommandError, HttpClient.HttpClient>,
    ) =>
      MonitoringClient.make({ url, adminToken: token }).pipe(
        Effect.flatMap(({ steering }) =>
          typeof choice === "string"
            ? steering[choice]({ path: { id: exact } })
            : steering.weight({ path: { id: exact }, payload: choice }),
        ),
        inTime(url),
        Effect.catchAll((error) => {
          switch (error._tag) {
            case "Unauthorized":
            case "SteeringOff":
            case "InvalidRequest":
              return refusalOf(url, error);
            case "UnknownBackend":
              return otherwise;
            default:
              return commandErrorOf(url, error);
          }
        }),
      );
    return steerExactly(
      id,
      Effect.flatMap(status(url), ({ backends }) => {
        const ids = backends.map((backend) => backend.id);
        const [only, ...others] = ids.filter((each) => each.startsWith(id));
        return only === undefined || others.length > 0
          ? new CommandError({ message: notOne(id, ids), code: 1 })
          : steerExactly(only, new CommandError({ message: notOne(id, ids), code: 1 }));
      }),
    );
  });

/** Why an id stands for no backend of these. */
const notOne = (id: string, ids: ReadonlyArray<string>): string => {
  const beginning = ids.filter((each) => each.startsWith(id));
  const shown = beginning.length > 0 ? beginning : ids;
  const list = `${shown
    .slice(0, 20)
    .map((each) => printable(each))
    .join(", ")}${shown.length > 20 ? ", …" : ""}`;
  if (beginning.length > 0) return `${printable(id)} is the beginning of several ids: ${list}`;
  return `no backend ${printable(id)} is listed: ${ids.length === 0 ? "none is" : `there are ${list}`}`;
};
