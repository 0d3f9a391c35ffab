/**
 * Changes of the pool, as a stream: `registry.events`. Connections cause no events: there are too many of them.
 */
import type { Backend } from "./Backend.js";
import type { Phase } from "./Pool.js";

/**
 * One change of the pool.
 *
 * @example
 * ```ts
 * import type { PoolEvent } from "zeitwork-load-balancer"
 *
 * const isFailure = (event: PoolEvent): boolean => event._tag === "Down"
 * ```
 *
 * @since 0.2.0
 * @category models
 */
export type PoolEvent =
  /** Discovery lists it from now on. */
  | { readonly _tag: "Added"; readonly backend: Backend }
  /** Discovery lists it no longer. */
  | { readonly _tag: "Removed"; readonly backend: Backend }
  /** Discovery says something else of it than before: its weight, its limit or its role. */
  | { readonly _tag: "Altered"; readonly backend: Backend }
  /** Its slow start has begun where its `slowStart` is not undefined. */
  | { readonly _tag: "Up"; readonly backend: Backend }
  /** It has one tenth more of its weight in its slow start, or all of it. */
  | { readonly _tag: "SlowStart"; readonly backend: Backend }
  | { readonly _tag: "Down"; readonly backend: Backend; readonly why: string }
  /** An operator has chosen what becomes of it. */
  | { readonly _tag: "Steered"; readonly backend: Backend; readonly by: string }
  /** An operator has chosen its weight, or given it back to discovery. */
  | { readonly _tag: "Weighed"; readonly backend: Backend; readonly by: string }
  | { readonly _tag: "Phase"; readonly phase: Phase };
