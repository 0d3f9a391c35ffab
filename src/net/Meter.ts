/**
 * Bytes relayed, as they are relayed: whoever moves them adds to it.
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
