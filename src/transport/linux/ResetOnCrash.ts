/**
 * Whether clients are reset if the process is killed while they are connected.
 */
import { Context } from "effect";

/**
 * Whether the kernel resets clients when the process is killed or crashes, so that a client does not take a partial
 * response for a complete one (SO_LINGER with a time of 0). True by default. It costs each connection that ends in
 * order a system call: 0.3 to 2 microseconds. When false, the call is made only for connections older than 2 to 4 s;
 * clients of younger ones see a normal close after a crash.
 *
 * @example
 * ```ts
 * import { Layer } from "effect"
 * import { LinuxTransport } from "zeitwork-load-balancer"
 *
 * const transport = LinuxTransport.layer.pipe(
 *   Layer.provide(Layer.succeed(LinuxTransport.ResetOnCrash, false)),
 * )
 * ```
 *
 * @since 0.2.0
 * @category tags
 */
export class ResetOnCrash extends Context.Reference<ResetOnCrash>()("zeitwork-load-balancer/ResetOnCrash", {
  defaultValue: () => true,
}) {}
