/**
 * What a data thread is doing: `orders` of the main thread (a connection begins, or is cut), what is due by time
 * (`timers`), or what has come from clients and backends (`relaying`); or it is `waiting` in the kernel for one of
 * these.
 *
 * @since 0.2.0
 * @category models
 */
export type DataThreadPhase = "starting" | "orders" | "timers" | "relaying" | "waiting";

/**
 * A data thread at one moment, as its transport says and metrics and monitoring show: counts are since it began.
 *
 * @example
 * ```ts
 * import { Console, Effect } from "effect"
 * import { type DataThreadStatus, Transport } from "zeitwork-load-balancer"
 *
 * const turns = ({ name, turns }: DataThreadStatus) => Console.log(`${name}: ${turns} turns`)
 * const program = Effect.flatMap(Transport.Transport, ({ dataThreads }) =>
 *   Effect.forEach(dataThreads?.() ?? [], turns),
 * )
 * ```
 *
 * @since 0.2.0
 * @category models
 */
export interface DataThreadStatus {
  readonly name: string;
  /** Connections that it has: to be made, or relayed. */
  readonly connections: number;
  /** Processor time that it has used, in seconds; undefined where the system does not say. */
  readonly cpuSeconds: number | undefined;
  readonly phase: DataThreadPhase;
  /** False from when it has taken no turn of its loop for five seconds until it takes one. */
  readonly responsive: boolean;
  /**
   * For how long it has taken none, in seconds, by a look once a second; times do not count in which the process stood
   * still.
   */
  readonly silentSeconds: number;
  /** How often it was found not to be responsive. */
  readonly silences: number;
  /** Turns of its loop: one or more in each second. */
  readonly turns: number;
  /** How often it has waited in the kernel. */
  readonly waits: number;
  /** Orders that it has not followed yet. */
  readonly orders: number;
  /** Reports of it that the main thread has not heard yet. */
  readonly reports: number;
}
