/**
 * Bytes relayed, as they are relayed: whoever moves them adds to it.
 *
 * @example
 * ```ts
 * import type { Meter } from "zeitwork-load-balancer"
 *
 * const meter: Meter = { received: 0, sent: 0 }
 * ```
 *
 * @since 0.2.0
 * @category models
 */
export interface Meter {
  /** From clients. */
  received: number;
  /** To clients. */
  sent: number;
}
