/**
 * The algorithms by their names.
 */
import { Record } from "effect";
import type { Algorithm } from "./Algorithm.js";
import { ipHash } from "./IpHash.js";
import { leastConnections } from "./LeastConnections.js";
import { random } from "./Random.js";
import { roundRobin } from "./RoundRobin.js";

/**
 * Those that the setting LB_ALGORITHM chooses from.
 *
 * @example
 * ```ts
 * import { type AlgorithmName, algorithms, BackendRegistry } from "zeitwork-load-balancer"
 *
 * const registryWith = (name: AlgorithmName) => BackendRegistry.layer({ algorithm: algorithms[name] })
 * ```
 *
 * @since 0.2.0
 * @category constructors
 */
export const algorithms = {
  "round-robin": roundRobin,
  "least-connections": leastConnections,
  "ip-hash": ipHash,
  random,
} as const satisfies Readonly<Record<string, Algorithm>>;

/**
 * @since 0.2.0
 * @category models
 */
export type AlgorithmName = keyof typeof algorithms;

/**
 * In the order in which they are listed for people.
 *
 * @since 0.2.0
 * @category constants
 */
export const algorithmNames: ReadonlyArray<AlgorithmName> = Record.keys(algorithms);
