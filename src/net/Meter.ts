/** Bytes relayed, as they are relayed: whoever moves them adds to it. */
export interface Meter {
  /** From clients. */
  received: number;
  /** To clients. */
  sent: number;
}
