/**
 * Whether a data thread takes its turns, as the main thread sees when it looks, which it does once a second. A thread that
 * has nothing to do takes one in each second too.
 *
 * Times in which the process did not run are no silence: it was stopped, or its machine was paused. Nobody can tell the
 * two threads' times apart then, so of a look that comes late only the time counts in which it was due.
 */
import { stallMillis } from "../../clock/StallLimits.js";

/** From one look to the next, in milliseconds. */
export const lookMillis = 1_000;

/** A thread that has taken no turn for so long does not answer, in milliseconds. */
export const longestSilence = 5_000;

/** What a look has found to be new. */
export type Found =
  /** It has taken no turn for {@link longestSilence}. */
  | "silent"
  /** It has taken one again. */
  | "answers";

export class Responsiveness {
  #turns: number | undefined;
  #looked = 0;
  /** For how long it has taken no turn, in milliseconds. */
  silentMillis = 0;
  /** For how long it had taken none when it was last found to answer again, in milliseconds. */
  lastSilence = 0;
  /** False from when it was found silent until it answers. */
  responsive = true;
  /** How often it was found silent. */
  silences = 0;

  /** `turns` are those that it has taken by now, a monotonic time in milliseconds. */
  look(turns: number, now: number): Found | undefined {
    const elapsed = now - this.#looked;
    this.#looked = now;
    if (turns !== this.#turns) {
      this.#turns = turns;
      const silence = this.silentMillis;
      this.silentMillis = 0;
      if (this.responsive) return undefined;
      this.responsive = true;
      this.lastSilence = silence;
      return "answers";
    }
    this.silentMillis += elapsed >= lookMillis + stallMillis ? lookMillis : elapsed;
    if (!this.responsive || this.silentMillis < longestSilence) return undefined;
    this.responsive = false;
    this.silences += 1;
    return "silent";
  }
}
