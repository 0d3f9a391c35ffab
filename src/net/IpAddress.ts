/**
 * IP addresses as values that can be compared and hashed.
 */
import { isIPv4 } from "node:net";

/**
 * True of `0.0.0.0` and `::` in each of their spellings: a connect to them reaches this host.
 *
 * @since 0.2.0
 * @category predicates
 */
export const isUnspecified = (address: string): boolean => /^[0:.]+$/.test(canonical(address));

// An IPv4 address in hexadecimal. `::ffff:5` has its ffff one group further right and carries none.
const twoGroups = /^([0-9a-f]{1,4}):([0-9a-f]{1,4})$/;

/**
 * The one spelling of a client's address that affinity is decided on: an IPv4-mapped IPv6 address (RFC 4291
 * section 2.5.5.2) is the IPv4 address it carries, an IPv6 zone (`%eth0`) is left out because it names an
 * interface of this host and not the client, and letters are lower case. Every other text is taken as the
 * operating system wrote it, which is canonical already (RFC 5952).
 *
 * @example
 * ```ts
 * import { IpAddress } from "zeitwork-load-balancer"
 *
 * IpAddress.canonical("::ffff:10.0.0.1") // "10.0.0.1"
 * ```
 *
 * @since 0.2.0
 * @category accessors
 */
export const canonical = (text: string): string => {
  if (!text.includes(":")) return text;
  const zone = text.indexOf("%");
  const address = (zone === -1 ? text : text.slice(0, zone)).toLowerCase();
  if (!address.startsWith("::ffff:")) return address;
  const carried = address.slice(7);
  if (isIPv4(carried)) return carried;
  const groups = twoGroups.exec(carried);
  if (groups === null) return address;
  const high = Number.parseInt(groups[1] ?? "", 16);
  const low = Number.parseInt(groups[2] ?? "", 16);
  return `${high >> 8}.${high & 255}.${low >> 8}.${low & 255}`;
};
