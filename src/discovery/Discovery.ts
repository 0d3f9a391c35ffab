/**
 * Discovery: where the balancer learns which backends there are. One question, answered anew at every poll; how
 * often it is asked, and what becomes of the answer, is the business of {@link DiscoveryPolling}.
 */
import { Context, Data, type Effect } from "effect";
import type { Instance } from "../backend/Backend.js";

/** An entry that was listed and cannot be a backend. The others stand. */
export interface Skipped {
  /** The entry, as a message can name it: its id, or its place in the list. */
  readonly entry: string;
  /** Why, in words that can end a sentence. */
  readonly why: string;
}

export interface Answer {
  readonly instances: ReadonlyArray<Instance>;
  readonly skipped: ReadonlyArray<Skipped>;
}

/** Why there is no answer. */
export type DiscoveryFailure =
  /** No connection to the source, or it broke before the answer was whole. */
  | "unreachable"
  /** No whole answer before the deadline. */
  | "timeout"
  /** The source answered with a status other than 2xx. */
  | "status"
  /** The answer is longer than is accepted. */
  | "too-large"
  /** The answer is not what it should be: not JSON, or JSON of another shape. */
  | "malformed";

export class DiscoveryError extends Data.TaggedError("DiscoveryError")<{
  readonly reason: DiscoveryFailure;
  /** What was asked, and what is wrong with the answer; without any secret. */
  readonly message: string;
}> {}

export class Discovery extends Context.Tag("zeitwork-load-balancer/Discovery")<
  Discovery,
  {
    /** What is asked, for the log: a URL without credentials, or "a fixed list". */
    readonly source: string;
    /** Asks once. Whoever implements it bounds its time and the size of what it reads. */
    readonly list: Effect.Effect<Answer, DiscoveryError>;
  }
>() {}
