/**
 * What clients see when the process is killed while they are connected.
 */
import { Context } from "effect";

/**
 * Whether the kernel resets clients when the process is killed or crashes, so that a part of an answer does not pass for all
 * of it (SO_LINGER with no time). True unless something else is provided. It costs each connection a system call as it
 * ends in order: 0.3 to 2 microseconds. With false, connections that last spend it in their first round, after two to four
 * seconds, and short ones never: a client of a younger connection sees an end in order.
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
