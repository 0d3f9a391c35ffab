/**
 * Bytes that one connection has carried so far. The transport adds to them as it reads; whoever gave them to it may read
 * them at any time.
 *
 * @example
 * ```ts
 * import type { ByteCounts } from "zeitwork-load-balancer"
 *
 * const counts: ByteCounts = { received: 0, sent: 0 }
 * ```
 *
 * @since 0.2.0
 * @category models
 */
export interface ByteCounts {
  /** From clients. */
  received: number;
  /** To clients. */
  sent: number;
  /** One side has sent FIN, and the other has not, or not yet. Set once, and of no meaning once the connection is over. */
  halfClosed?: boolean;
}
