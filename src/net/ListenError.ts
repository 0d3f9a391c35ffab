/**
 * Why an address could not be listened on; the same for clients' connections and for monitoring.
 */
import { Data } from "effect";
import { format, type SocketAddress } from "./SocketAddress.js";

/**
 * Why a port cannot be listened on.
 *
 * @since 0.2.0
 * @category models
 */
export type ListenFailure = "in-use" | "not-permitted" | "no-such-address" | "other";

/**
 * The reason that a system error code stands for when it comes from listening.
 *
 * @since 0.2.0
 * @category accessors
 */
export const failureOf = (code: string | undefined): ListenFailure => {
  switch (code) {
    case "EADDRINUSE":
      return "in-use";
    case "EACCES":
    case "EPERM":
      return "not-permitted";
    case "EADDRNOTAVAIL":
    case "EAFNOSUPPORT":
      return "no-such-address";
    default:
      return "other";
  }
};

/**
 * A port cannot be listened on.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { LoadBalancer } from "zeitwork-load-balancer"
 *
 * const listening = LoadBalancer.make({ port: 8082 }).pipe(
 *   Effect.catchTag("ListenError", ({ message, reason }) => Effect.logError(message, reason)),
 * )
 * ```
 *
 * @since 0.2.0
 * @category errors
 */
export class ListenError extends Data.TaggedError("ListenError")<{
  readonly reason: ListenFailure;
  /** What was asked for. */
  readonly address: SocketAddress;
  /** The system's word for it (EADDRINUSE), where there is one. */
  readonly code: string | undefined;
  /** The error of Node's, where there was one. */
  readonly cause?: unknown;
}> {
  override get message(): string {
    const where = format(this.address);
    const family = this.address.host.includes(":") ? "ipv6" : "ipv4";
    switch (this.reason) {
      case "in-use":
        return `${where} is in use by another program`;
      case "not-permitted":
        return `listening on ${where} is not permitted to this user`;
      case "no-such-address":
        return `${this.address.host} is not an address of this host (one that it shares with others by VRRP can be listened on before it comes if net.${family}.ip_nonlocal_bind is 1)`;
      case "other":
        return `cannot listen on ${where} (${this.code ?? "unknown error"})`;
    }
  }
}
