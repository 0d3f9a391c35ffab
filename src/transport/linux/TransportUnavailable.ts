/**
 * Why the Linux transport cannot run here.
 */
import { Data } from "effect";

/**
 * Why this transport cannot run here.
 *
 * @since 0.2.0
 * @category models
 */
export type Unavailable =
  /** Not Linux, or neither x86-64 nor 64-bit ARM. */
  | "unsupported-platform"
  /** koffi is not installed, or there is none for this system. */
  | "not-installed"
  /** The C library or Node's own loop cannot be called. */
  | "not-callable"
  /** The kernel is too old for io_uring as it is used here, or does not allow it. */
  | "no-io_uring"
  /** The data threads do not start. */
  | "no-threads"
  /** All is there, but what was relayed to try it did not arrive as it was sent. */
  | "self-test-failed";

/**
 * The Linux transport cannot run here.
 *
 * @since 0.2.0
 * @category errors
 */
export class TransportUnavailable extends Data.TaggedError("TransportUnavailable")<{
  readonly reason: Unavailable;
  /** What was found, in words. */
  readonly detail: string;
}> {
  override get message(): string {
    return `the Linux transport cannot run here: ${explain[this.reason]} (${this.detail})`;
  }
}

const explain: Record<Unavailable, string> = {
  "unsupported-platform": "it needs Linux on x86-64 or 64-bit ARM",
  "not-installed": "koffi cannot be loaded; install it together with its optional packages",
  "not-callable": "the C library cannot be called",
  "no-io_uring": "there is no io_uring, of Linux 6.1 or newer, that this process may use",
  "no-threads": "its data threads do not start",
  "self-test-failed": "its self-test failed",
};

/** The same, of what was thrown. */
export const unavailable = (reason: Unavailable, cause: unknown): TransportUnavailable =>
  new TransportUnavailable({ reason, detail: cause instanceof Error ? cause.message : String(cause) });
