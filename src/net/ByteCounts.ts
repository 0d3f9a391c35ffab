/**
 * Bytes that one connection has carried so far. The transport adds to them as it reads; the caller may read them at any
 * time.
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
  /** One side has sent FIN. Set once; of no meaning after the connection has ended. */
  halfClosed?: boolean;
}
