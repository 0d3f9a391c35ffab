/**
 * Whether a data thread still runs its loop. The main thread checks once a second whether the thread's count of turns
 * has grown; an idle thread takes at least one turn a second too.
 *
 * If a check is late (the process or its machine was paused), count only the scheduled interval as silence.
 */
import { stallMillis } from "../../clock/StallLimits.js";

/** The interval of the checks, in milliseconds. */
export const lookMillis = 1_000;

/** A thread that took no turn for this time is unresponsive, in milliseconds. */
export const longestSilence = 5_000;

/** A change that a check found. */
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

  /** `turns` is the thread's count of turns at `now`, a monotonic time in milliseconds. */
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
