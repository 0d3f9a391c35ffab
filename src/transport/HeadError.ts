/**
 * Why the beginning of a connection could not be read.
 */
import { Data } from "effect";

/**
 * Why there is no beginning.
 *
 * @since 0.2.0
 * @category errors
 */
export type HeadFailure =
  /** It did not arrive before the deadline. */
  | "timeout"
  /** The client had shut its side (FIN) before it was whole. */
  | "closed"
  /** The client broke off (RST, or its connection died). */
  | "reset";

const words: Readonly<Record<HeadFailure, string>> = {
  timeout: "it did not arrive in time",
  closed: "the client ended the connection before it was whole",
  reset: "the client broke the connection off before it was whole",
};

/**
 * The beginning of a connection could not be read.
 *
 * @since 0.2.0
 * @category errors
 */
export class HeadError extends Data.TaggedError("HeadError")<{
  readonly reason: HeadFailure;
}> {
  override get message(): string {
    return words[this.reason];
  }
}
