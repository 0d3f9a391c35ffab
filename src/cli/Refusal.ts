/**
 * Why the program, or a command of it, does not do what it was asked: told on stderr, without a stack trace.
 */
import { Data } from "effect";

/** The message is for whoever typed it; the code is what the process exits with. */
export class Refusal extends Data.TaggedError("Refusal")<{
  readonly message: string;
  readonly code: number;
}> {}

/** A wrong setting, command or option: EX_USAGE of sysexits.h. */
export const usage = 64;
