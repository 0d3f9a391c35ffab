/**
 * The places of a listener that may have only so many connections at a time: how many are taken, and who waits for one.
 */
export class Places {
  taken = 0;
  /** Connections that have left since the start. */
  left = 0;
  #onFree: (() => void) | undefined;

  constructor(readonly most: number) {}

  get full(): boolean {
    return this.taken >= this.most;
  }

  take(): void {
    this.taken += 1;
  }

  /** Gives a place back. */
  leave(): void {
    this.taken -= 1;
    this.left += 1;
    const onFree = this.#onFree;
    this.#onFree = undefined;
    onFree?.();
  }

  /** The next who leaves has this called, once. One who waited before waits no more. */
  whenFree(onFree: (() => void) | undefined): void {
    this.#onFree = onFree;
  }
}
