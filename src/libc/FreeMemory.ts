/**
 * Memory that was freed, and that the C library keeps for later.
 */
import { functionsOf, type Koffi } from "./Library.js";

/**
 * Gives it back to the system, in a few milliseconds: malloc_trim(3) of glibc. Other C libraries keep less, and have no such
 * call.
 */
export const giveBack = (koffi: Koffi): void => {
  let trim: (pad: number) => number;
  try {
    trim = functionsOf(koffi).call("int malloc_trim(size_t)");
  } catch {
    return;
  }
  trim(0);
};
