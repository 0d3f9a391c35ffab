/**
 * IP addresses as values that can be compared and hashed.
 */
import { isIPv4 } from "node:net";

/**
 * The one spelling of a client's address that affinity is decided on: an IPv4-mapped IPv6 address (RFC 4291
 * section 2.5.5.2) is the IPv4 address it carries, an IPv6 zone (`%eth0`) is left out because it names an
 * interface of this host and not the client, and letters are lower case. Every other text is taken as the
 * operating system wrote it, which is canonical already (RFC 5952).
 */
export const canonical = (text: string): string => {
  if (!text.includes(":")) return text;
  const zone = text.indexOf("%");
  const address = (zone === -1 ? text : text.slice(0, zone)).toLowerCase();
  if (!address.startsWith("::ffff:")) return address;
  const carried = address.slice(7);
  if (isIPv4(carried)) return carried;
  // In hexadecimal it takes two groups: `::ffff:5` has its ffff one group further right and is no mapped address.
  const groups = carried.split(":");
  if (groups.length !== 2) return address;
  const [high, low] = groups.map((group) => Number.parseInt(group, 16));
  if (high === undefined || low === undefined || Number.isNaN(high + low)) return address;
  return `${high >> 8}.${high & 255}.${low >> 8}.${low & 255}`;
};
