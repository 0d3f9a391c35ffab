/**
 * Where a TCP endpoint is: an IP address (or, before it is resolved, a host name) and a port.
 */
import { isIP, isIPv6 } from "node:net";

/**
 * An IP address and a port.
 *
 * @since 0.2.0
 * @category models
 */
export interface SocketAddress {
  /** An IPv4 or IPv6 address in text, without brackets; a host name only where a text says so. */
  readonly host: string;
  /** 1 to 65535; 0 only in a request to listen, where it means "any free port". */
  readonly port: number;
}

/**
 * `10.0.0.1:80` or `[2001:db8::5]:80`, the form of RFC 3986 section 3.2.2.
 *
 * @since 0.2.0
 * @category accessors
 */
export const format = (address: SocketAddress): string =>
  address.host.includes(":") ? `[${address.host}]:${address.port}` : `${address.host}:${address.port}`;

/**
 * The longest zone of an IPv6 address: interfaces have names of at most 15 characters (IFNAMSIZ in net/if.h).
 *
 * @since 0.2.0
 * @category constants
 */
export const longestZone = 15;

/**
 * The zone of an IPv6 address, the `eth0` of `fe80::1%eth0`; undefined where there is none.
 *
 * @since 0.2.0
 * @category accessors
 */
export const zoneOf = (host: string): string | undefined => {
  const at = host.indexOf("%");
  return at === -1 ? undefined : host.slice(at + 1);
};

/**
 * True of IPv4 and IPv6 addresses in text, without brackets. A zone has at most {@link longestZone} characters.
 *
 * @since 0.2.0
 * @category predicates
 */
export const isIpAddress = (host: string): boolean =>
  isIP(host) !== 0 && (zoneOf(host)?.length ?? 0) <= longestZone;

// One label of RFC 1123 section 2.1, with the underscore that service names use.
const label = /^(?!-)[A-Za-z0-9_-]{1,63}(?<!-)$/;

/**
 * True of a name that DNS could resolve (RFC 1123); a dotted number such as `10.0.0.300` is not one.
 *
 * @since 0.2.0
 * @category predicates
 */
export const isHostName = (host: string): boolean => {
  const labels = host.replace(/\.$/, "").split(".");
  return (
    host.length > 0 &&
    host.length <= 253 &&
    labels.every((part) => label.test(part)) &&
    !/^[0-9]+$/.test(labels[labels.length - 1] ?? "")
  );
};

/**
 * Reads `host:port` or `[v6]:port`. The port is 1 to 65535.
 * Returns what is wrong, in words that can end a sentence, when the text is neither.
 *
 * @example
 * ```ts
 * import { SocketAddress } from "zeitwork-load-balancer"
 *
 * SocketAddress.parse("[::1]:80") // { host: "::1", port: 80 }
 * SocketAddress.format({ host: "::1", port: 80 }) // "[::1]:80"
 * ```
 *
 * @since 0.2.0
 * @category constructors
 */
export const parse = (text: string): SocketAddress | { readonly wrong: string } => {
  const match = /^(?:\[([^\]]*)\]|([^:[\]]*)):([0-9]{1,5})$/.exec(text);
  if (match === null) {
    return isIPv6(text)
      ? { wrong: "an IPv6 address needs brackets and a port, as in [2001:db8::5]:3000" }
      : { wrong: "it is not host:port or [v6]:port" };
  }
  const [, bracketed, plain, digits] = match;
  const port = Number(digits);
  if (port < 1 || port > 65535) return { wrong: `port ${digits} is not between 1 and 65535` };
  if (bracketed !== undefined) {
    return isIPv6(bracketed) && isIpAddress(bracketed)
      ? { host: bracketed, port }
      : { wrong: `${bracketed} in brackets is not an IPv6 address` };
  }
  const host = plain ?? "";
  return isIpAddress(host) || isHostName(host)
    ? { host, port }
    : { wrong: `${host === "" ? "an empty host" : host} is neither an IP address nor a host name` };
};
