/**
 * Looks an address up in this host's routing table, by connecting a UDP socket. That sends no packet.
 */
import { createSocket } from "node:dgram";
import { isIPv4 } from "node:net";
import { Data, Effect } from "effect";
import { canonical } from "./IpAddress.js";
import { isIpAddress } from "./SocketAddress.js";

export interface Route {
  /** The address that packets to there would be sent from. */
  readonly source: string;
  /** The address that was asked for; loopback where every address (`0.0.0.0`, `::`) was. */
  readonly destination: string;
}

/** There is no route to an address, no source address for it, or (`EMFILE`) no descriptor to ask with. */
export class RouteError extends Data.TaggedError("RouteError")<{
  readonly host: string;
  /** The system's word for it: ENETUNREACH, EADDRNOTAVAIL, ... */
  readonly code: string | undefined;
  readonly cause?: unknown;
}> {
  override get message(): string {
    return `there is no route to ${this.host} (${this.code ?? "unknown error"})`;
  }
}

/** Any port except 0 works: nothing is sent. */
const discard = 9;

/** The route to an IP address. Anything else fails with EINVAL. */
export const to = (host: string): Effect.Effect<Route, RouteError> =>
  Effect.async((resume) => {
    if (!isIpAddress(host)) {
      resume(Effect.fail(new RouteError({ host, code: "EINVAL" })));
      return;
    }
    const address = canonical(host);
    const socket = isIPv4(address) ? createSocket("udp4") : createSocket("udp6");
    const settle = (result: Effect.Effect<Route, RouteError>): void => {
      socket.off("error", fail);
      // It may be on its way to be opened, which can fail still.
      socket.on("error", () => {});
      socket.close();
      resume(result);
    };
    const fail = (cause: NodeJS.ErrnoException): void =>
      settle(Effect.fail(new RouteError({ host, code: cause.code, cause })));
    socket.once("error", fail);
    // With its zone, which is left out of the canonical address.
    socket.connect(discard, isIPv4(address) ? address : host, (cause?: NodeJS.ErrnoException) => {
      if (cause != null) fail(cause);
      else {
        settle(
          Effect.succeed({ source: socket.address().address, destination: socket.remoteAddress().address }),
        );
      }
    });
  });

/**
 * Whether packets to an IP address stay on this host: one of its own addresses, loopback, every address, or an address
 * that a route of type local leads to. False where that cannot be known.
 */
export const isLocal = (host: string): Effect.Effect<boolean> =>
  to(host).pipe(
    // The source of all of 127.0.0.0/8 is 127.0.0.1.
    Effect.map(({ source, destination }) => source === destination || destination.startsWith("127.")),
    Effect.orElseSucceed(() => false),
  );
