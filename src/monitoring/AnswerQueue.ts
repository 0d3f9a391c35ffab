/**
 * Answers that take work, in the order in which they were asked for. Node accepts one connection in a turn of its loop, so
 * that whoever asks for health in a burst of viewers would wait for the answers to all of these. They wait instead, while
 * there are still connections to be accepted; the ones that are closed meanwhile cost nothing.
 */

/** Under connections without end one answer is still begun in so many turns. */
export const mostTurns = 64;

export class AnswerQueue {
  readonly #waiting: Array<() => void> = [];
  /** Whether this turn has brought a connection. */
  #arrived = false;
  /** In how many turns, one after the other, no answer was begun. */
  #turns = 0;

  constructor(
    /** Calls back at the end of a turn of the loop, after its input was looked at. */
    readonly afterInput: (task: () => void) => void,
  ) {}

  /** A connection was accepted. */
  arrived(): void {
    this.#arrived = true;
  }

  /** Begins an answer when its turn has come. There are as many as there are places for connections at most. */
  add(begin: () => void): void {
    if (this.#waiting.push(begin) === 1) this.afterInput(this.#next);
  }

  readonly #next = (): void => {
    this.#turns = this.#arrived ? this.#turns + 1 : mostTurns;
    this.#arrived = false;
    const begin = this.#turns < mostTurns ? undefined : this.#waiting.shift();
    if (begin !== undefined) this.#turns = 0;
    if (this.#waiting.length > 0) this.afterInput(this.#next);
    begin?.();
  };
}
