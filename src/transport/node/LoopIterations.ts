/**
 * Numbers the iterations of Node's event loop, so that one can tell whether two things happened in the same one.
 */
export class LoopIterations {
  #number = 0;
  #counting = false;

  readonly #next = (): void => {
    this.#counting = false;
    this.#number += 1;
  };

  /** The number of this iteration. It is counted only while it is in use. */
  get current(): number {
    if (!this.#counting) {
      this.#counting = true;
      setImmediate(this.#next);
    }
    return this.#number;
  }
}
