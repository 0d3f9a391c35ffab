/** Exceptions that were caught in callbacks: each ends only the owner of that callback. */

/** An owner of callbacks that may throw. */
export interface Culprit {
  /** Its callback threw. It has to end what it does. */
  readonly onFault: () => void;
}

export class CallbackFaults {
  /** How many there were. Zero, if nothing is wrong here. */
  count = 0;

  constructor(
    /** Called for every exception. Must not throw. */
    readonly report: (fault: unknown) => void,
  ) {}

  caught(culprit: Culprit, fault: unknown): void {
    this.end(culprit);
    this.record(fault);
  }

  /** Ends an owner. What that throws is recorded, too. */
  end(culprit: Culprit): void {
    try {
      culprit.onFault();
    } catch (fault) {
      this.record(fault);
    }
  }

  record(fault: unknown): void {
    this.count += 1;
    this.report(fault);
  }
}
