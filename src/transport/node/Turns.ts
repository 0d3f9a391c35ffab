/**
 * Numbers the turns of Node's loop: whether two things happened in the same one.
 */
export class Turns {
  #number = 0;
  #counting = false;

  readonly #next = (): void => {
    this.#counting = false;
    this.#number += 1;
  };

  /** The number of this turn. It is counted on only while somebody asks for it. */
  get current(): number {
    if (!this.#counting) {
      this.#counting = true;
      setImmediate(this.#next);
    }
    return this.#number;
  }
}
