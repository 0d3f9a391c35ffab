/**
 * Why a backend could not be connected to.
 */
import { Data, Effect } from "effect";
import * as RouteLookup from "../net/RouteLookup.js";
import { format, type SocketAddress } from "../net/SocketAddress.js";

/**
 * Why connecting or probing failed.
 *
 * @since 0.2.0
 * @category errors
 */
export type ConnectFailure =
  /** The host answered, and nothing listens there (ECONNREFUSED). */
  | "refused"
  /** No answer before the deadline. */
  | "timeout"
  /** There is no route, or a router said so (EHOSTUNREACH, ENETUNREACH and their like). */
  | "unreachable"
  /** There is a route, and this host has no address to use it with: none of that family, for instance. */
  | "no-source-address"
  /** The connection was reset while it was made (ECONNRESET). */
  | "reset"
  /** This host has no free port left towards that one address. Others may be connected to. */
  | "no-free-port"
  /** This process or host is out of descriptors or memory. */
  | "exhausted"
  /** What was asked for is not an IP address with a port from 1 to 65535. */
  | "invalid-address"
  /** Anything else; the message has the system's own word for it. */
  | "other";

const explain: Record<ConnectFailure, string> = {
  refused: "refused the connection",
  timeout: "did not answer in time",
  unreachable: "cannot be reached",
  "no-source-address": "cannot be reached: this host has no address to connect from",
  reset: "reset the connection while it was made",
  "no-free-port":
    "could not be tried: this host has no free port left towards it; more source addresses have more ports",
  exhausted:
    "could not be tried: this host is out of descriptors or memory; raise ulimit -n (LimitNOFILE= in systemd's unit)",
  "invalid-address": "is not an IP address with a port from 1 to 65535",
  other: "could not be connected to",
};

/**
 * A connection that could not be made.
 *
 * @since 0.2.0
 * @category errors
 */
export class ConnectError extends Data.TaggedError("ConnectError")<{
  readonly reason: ConnectFailure;
  readonly address: SocketAddress;
  /** The system's word for it (ECONNREFUSED), where there is one. */
  readonly code: string | undefined;
  /** The error of Node's, where there was one. */
  readonly cause?: unknown;
}> {
  override get message(): string {
    return `${format(this.address)} ${explain[this.reason]}${this.code === undefined ? "" : ` (${this.code})`}`;
  }
}

/**
 * Whether the cause is this process or host, so that the failure says nothing about the backend.
 *
 * @since 0.2.0
 * @category predicates
 */
export const isLocal = (reason: ConnectFailure): reason is "exhausted" | "no-free-port" =>
  reason === "exhausted" || reason === "no-free-port";

/** The reason that a system error code stands for when it comes from connecting. */
const reasonOf = (code: string | undefined): ConnectFailure => {
  switch (code) {
    case "ECONNREFUSED":
      return "refused";
    case "ETIMEDOUT":
      return "timeout";
    case "EHOSTUNREACH":
    case "EHOSTDOWN":
    case "ENETUNREACH":
    case "ENETDOWN":
    case "ENONET":
      return "unreachable";
    case "ECONNRESET":
    case "ECONNABORTED":
    case "EPIPE":
      return "reset";
    case "EADDRNOTAVAIL":
    case "EADDRINUSE":
      return "no-free-port";
    case "EMFILE":
    case "ENFILE":
    case "ENOBUFS":
    case "ENOMEM":
    case "ENOSPC":
    case "EAGAIN":
      return "exhausted";
    default:
      return "other";
  }
};

const ofReason = (reason: ConnectFailure, { address, cause, code }: ConnectError): ConnectError =>
  new ConnectError({ reason, address, code, cause });

/** The error that a system error code stands for when it comes from connecting. */
export const ofCode = (address: SocketAddress, code: string | undefined, cause?: unknown): ConnectError =>
  new ConnectError({ reason: reasonOf(code), address, code, cause });

/**
 * Fails with the error. EADDRNOTAVAIL means no free port, as {@link ofCode} assumes, or no source address; a route
 * lookup decides.
 */
export const fail = (error: ConnectError): Effect.Effect<never, ConnectError> =>
  error.code !== "EADDRNOTAVAIL"
    ? Effect.fail(error)
    : RouteLookup.to(error.address.host).pipe(
        Effect.mapError(({ code }) =>
          code === "EADDRNOTAVAIL" || code === "ENETUNREACH" ? ofReason("no-source-address", error) : error,
        ),
        Effect.zipRight(Effect.fail(error)),
      );
