/**
 * What one client's connection was: one record, made once, when the connection is over. The access log, the metrics and
 * telemetry all follow from it.
 */
import type { Backend } from "../backend/Backend.js";
import type { SocketAddress } from "../net/SocketAddress.js";

/**
 * What ended a connection: the first part of the termination code.
 *
 * @since 0.2.0
 * @category models
 */
export type EndedBy =
  /** In order: both sides closed, the client first. */
  | "client"
  /** In order: both sides closed, the backend first. */
  | "backend"
  /** The client broke off: it sent a reset, or its connection died. */
  | "client-reset"
  /** The backend broke off. */
  | "backend-reset"
  /** The balancer: no backend was healthy. */
  | "no-backend"
  /** The balancer: every healthy backend had as many connections as it may have, and QUEUE_LIMIT lets nobody wait. */
  | "backends-full"
  /** The balancer: every healthy backend was full, and QUEUE_LIMIT clients waited for a place already. */
  | "queue-full"
  /** The balancer: it waited for a place at a backend for QUEUE_TIMEOUT. */
  | "queue-timeout"
  /** The balancer: none of the backends that it may try could be connected to. */
  | "connect-failed"
  /** The balancer: it had as many connections as it can have, and none of them ended for long. */
  | "at-capacity"
  /** The balancer: the connection came from PROXY_PROTOCOL_FROM, and did not begin with a right PROXY header. */
  | "proxy-header"
  /** The balancer: the client is on DENY_CLIENTS, or not on ALLOW_CLIENTS. */
  | "denied"
  /** The balancer: the client had MAX_CONNECTIONS_PER_CLIENT connections. */
  | "client-limit"
  /** The balancer: the client made more connections than MAX_CONNECTION_RATE_PER_CLIENT. */
  | "client-rate"
  /** The balancer: DRAIN_TIMEOUT was over. */
  | "drain-timeout"
  /** The balancer: an operator cut this connection. */
  | "cut"
  /** The balancer: an operator disabled the backend. */
  | "disabled"
  /** The balancer: the backend went down, and ON_BACKEND_DOWN is `reset`. */
  | "backend-down"
  /** The balancer: no byte went either way for IDLE_TIMEOUT. */
  | "idle-timeout"
  /** The balancer: one side had sent FIN, and no byte went either way for HALF_CLOSED_TIMEOUT. */
  | "half-closed-timeout"
  /** The balancer: it was as old as MAX_CONNECTION_AGE lets it be. */
  | "max-age"
  /** The balancer: the data thread that relayed it ended by a fault. */
  | "thread-lost"
  /** A bug of the balancer, or of an algorithm or callback that it was given. */
  | "defect";

/**
 * How far the connection had come when it ended: the second part of the termination code.
 *
 * @since 0.2.0
 * @category models
 */
export type Phase =
  /** No backend had been chosen, or a PROXY header had not come yet. */
  | "choosing"
  /** It waited for a place, as every healthy backend had as many connections as it may have. */
  | "queued"
  /** A backend was being connected to. */
  | "connecting"
  /** Bytes went both ways. */
  | "relaying"
  /** Bytes went both ways, and the listener was draining. */
  | "draining";

/**
 * One connection that is over.
 *
 * @since 0.2.0
 * @category models
 */
export interface ConnectionRecord {
  /** As that of an `OpenSession`. */
  readonly id: number;
  /** Whom a PROXY header named, where one did; the peer otherwise. */
  readonly client: SocketAddress;
  /** The last one that was tried; undefined when there was none. */
  readonly backend: Backend | undefined;
  /** Connections that the backend had when this one was assigned to it, itself included. */
  readonly backendConnections: number;
  /** Milliseconds since the epoch. */
  readonly acceptedAt: number;
  /** Milliseconds that it waited for a place at a backend; undefined when it did not. */
  readonly queueMillis: number | undefined;
  /** Milliseconds that connecting to the backend took; undefined when no connection was made. */
  readonly connectMillis: number | undefined;
  /** Milliseconds from being accepted to its end. */
  readonly millis: number;
  /** Bytes from the client. */
  readonly received: number;
  /** Bytes to the client. */
  readonly sent: number;
  /** Backends that were tried before the last one. */
  readonly retries: number;
  readonly by: EndedBy;
  readonly phase: Phase;
}

/**
 * The termination code, as the access log and the metrics have it: `client/relaying`.
 *
 * @example
 * ```ts
 * import { Effect, Stream } from "effect"
 * import { ConnectionRecord, LoadBalancer } from "zeitwork-load-balancer"
 *
 * // A line for each connection that did not end in order.
 * const unclean = Effect.flatMap(LoadBalancer.LoadBalancer, ({ ended }) =>
 *   ended.pipe(
 *     Stream.filter((record) => !ConnectionRecord.isClean(record)),
 *     Stream.runForEach((record) => Effect.log(ConnectionRecord.codeOf(record), record.client.host)),
 *   ),
 * )
 * ```
 *
 * @since 0.2.0
 * @category accessors
 */
export const codeOf = ({ by, phase }: Pick<ConnectionRecord, "by" | "phase">): string => `${by}/${phase}`;

/**
 * Whether both sides closed in order, and all bytes were delivered.
 *
 * @since 0.2.0
 * @category accessors
 */
export const isClean = ({ by }: Pick<ConnectionRecord, "by">): boolean => by === "client" || by === "backend";
