/**
 * Which addresses of this host backends are connected to from, on every transport. Each address has ports of its own
 * (28,232 as Linux is delivered), so that with several of them more connections to one backend can be open.
 *
 * @example
 * ```ts
 * import { Layer } from "effect"
 * import { NodeTransport, SourceAddresses } from "zeitwork-load-balancer"
 *
 * const transport = NodeTransport.layer.pipe(
 *   Layer.provide(SourceAddresses.layer(["10.0.0.2", "10.0.0.3"])),
 * )
 * ```
 */
import { createServer } from "node:net";
import { Context, Data, Effect, Layer } from "effect";
import * as InvalidOption from "../config/InvalidOption.js";

/**
 * They are used in turn, also by probes. One that is out of ports is passed over. A backend of a family of which there is
 * none here is connected to from the address that the kernel chooses. None unless something else is provided.
 *
 * @since 0.2.0
 * @category tags
 */
export class SourceAddresses extends Context.Reference<SourceAddresses>()(
  "zeitwork-load-balancer/SourceAddresses",
  { defaultValue: (): ReadonlyArray<string> => [] },
) {}

/**
 * An address that this host does not have now.
 *
 * @since 0.2.0
 * @category errors
 */
export class SourceUnavailable extends Data.TaggedError("SourceUnavailable")<{
  readonly address: string;
  /** The system's word for it, such as EADDRNOTAVAIL. */
  readonly code: string;
}> {
  override get message(): string {
    return `${this.address} cannot be connected from (${this.code}): this host does not have it now`;
  }
}

// Whoever can listen there can connect from there.
const check = (address: string): Effect.Effect<void, SourceUnavailable> =>
  Effect.async((resume) => {
    const server = createServer();
    server.once("error", (error: NodeJS.ErrnoException) => {
      const code = error.code ?? error.message;
      // That there is no free port now says that there is such an address.
      resume(code === "EADDRINUSE" ? Effect.void : Effect.fail(new SourceUnavailable({ address, code })));
    });
    server.listen({ host: address, port: 0, exclusive: true }, () => server.close(() => resume(Effect.void)));
  });

/**
 * Connections are made from these; fails where this host does not have one of them.
 *
 * @since 0.2.0
 * @category layers
 */
export const layer = (
  addresses: ReadonlyArray<string>,
): Layer.Layer<never, SourceUnavailable | InvalidOption.InvalidOption> =>
  Layer.unwrapEffect(
    Effect.gen(function* () {
      yield* InvalidOption.count("addresses.length", addresses.length, {
        least: 0,
        most: InvalidOption.mostSources,
      });
      yield* Effect.forEach(addresses, (address) => InvalidOption.ipAddress("addresses", address), {
        discard: true,
      });
      yield* Effect.forEach(addresses, check, { discard: true });
      return Layer.succeed(SourceAddresses, addresses);
    }),
  );
