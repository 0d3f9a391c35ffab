/**
 * The places of a listener with a limit of connections: how many are taken, and a callback for when one is free.
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

  /** Calls `onFree` once, when the next connection leaves. It replaces the callback that was set before. */
  whenFree(onFree: (() => void) | undefined): void {
    this.#onFree = onFree;
  }
}
