/**
 * Whether a backend's address is one that this balancer listens to clients at: a connection to it would be accepted,
 * connected to a backend, accepted, and so on.
 *
 * It is so where the port is a listener's and the listener takes connections for that address: the bound address
 * itself, or, bound to every address (`0.0.0.0`, `::`), any that the kernel routes as local. To be able to bind an
 * address is not enough: with ip_nonlocal_bind every address can be bound.
 */
import { isIPv4, SocketAddress as Parsed } from "node:net";
import { Effect } from "effect";
import { canonical } from "../net/IpAddress.js";
import * as RouteLookup from "../net/RouteLookup.js";
import type { SocketAddress } from "../net/SocketAddress.js";

// The one spelling of an address; to connect to every address is to connect to loopback.
const spelling = (host: string): string => {
  const address = canonical(host);
  if (isIPv4(address)) return address === "0.0.0.0" ? "127.0.0.1" : address;
  const shortest = new Parsed({ address, family: "ipv6" }).address;
  return shortest === "::" ? "::1" : shortest;
};

/** Whether a listener for every address takes connections of this one's family. `::` takes those of IPv4, too. */
const takesEvery = (listener: string, host: string): boolean =>
  listener === "::" || (listener === "0.0.0.0" && isIPv4(canonical(host)));

/** Whether one of the listeners takes connections to the address. */
export const isOwn = (
  { host, port }: SocketAddress,
  listeners: ReadonlyArray<SocketAddress>,
): Effect.Effect<boolean> =>
  Effect.suspend(() => {
    const same = listeners.filter((listener) => listener.port === port);
    if (same.length === 0) return Effect.succeed(false);
    const address = spelling(host);
    if (
      same.some(
        (listener) =>
          listener.host !== "::" && listener.host !== "0.0.0.0" && spelling(listener.host) === address,
      )
    ) {
      return Effect.succeed(true);
    }
    return same.some((listener) => takesEvery(listener.host, host))
      ? RouteLookup.isLocal(host)
      : Effect.succeed(false);
  });
