/**
 * What one client's connection was, told once when it is over.
 */
import type { Backend } from "../backend/Backend.js";
import type { SocketAddress } from "../net/SocketAddress.js";

/** Who or what ended it: the first part of the termination code. */
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
  /** The balancer: none of the backends it may try could be connected to. */
  | "connect-failed"
  /** The balancer: DRAIN_TIMEOUT was over. */
  | "drain-timeout"
  /** The balancer: an operator disabled the backend. */
  | "disabled"
  /** A bug. */
  | "defect";

/** How far it had come: the second part of the termination code. */
export type Phase =
  /** A backend was looked for. */
  | "choosing"
  /** A backend was being connected to. */
  | "connecting"
  /** Bytes went both ways. */
  | "relaying"
  /** The same, after the balancer was told to stop. */
  | "draining";

export interface ConnectionRecord {
  readonly client: SocketAddress;
  /** The last one that was tried; undefined when there was none. */
  readonly backend: Backend | undefined;
  /** Connections that the backend had when this one was assigned to it, itself included. */
  readonly backendConnections: number;
  /** Milliseconds since the epoch. */
  readonly acceptedAt: number;
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

/** The termination code, as the access log and the metrics have it: `client/relaying`. */
export const codeOf = ({ by, phase }: Pick<ConnectionRecord, "by" | "phase">): string => `${by}/${phase}`;

/** Both sides closed in order, and all bytes were delivered. */
export const isClean = ({ by }: Pick<ConnectionRecord, "by">): boolean => by === "client" || by === "backend";
