/**
 * The access log: one structured line for each connection, when it is over.
 */
import { Effect } from "effect";
import { describe } from "../backend/Backend.js";
import type { AccessLogMode } from "../config/Settings.js";
import { format } from "../net/SocketAddress.js";
import { isDenial } from "./Admission.js";
import { type ConnectionRecord, codeOf, isClean } from "./ConnectionRecord.js";

// Tenths of microseconds are noise.
const rounded = (millis: number): number => Math.round(millis * 1000) / 1000;

/** The fields of a record, as they are logged. */
export const fields = (record: ConnectionRecord): Readonly<Record<string, unknown>> => ({
  id: record.id,
  code: codeOf(record),
  client: format(record.client),
  backend: record.backend === undefined ? null : describe(record.backend),
  accepted: new Date(record.acceptedAt).toISOString(),
  ...(record.queueMillis === undefined ? {} : { queue_ms: rounded(record.queueMillis) }),
  connect_ms: record.connectMillis === undefined ? null : rounded(record.connectMillis),
  duration_ms: rounded(record.millis),
  received: record.received,
  sent: record.sent,
  retries: record.retries,
  backend_connections: record.backendConnections,
});

/** The line for a record; undefined where it is not logged, which costs nothing. */
export const make = (
  mode: AccessLogMode,
): ((record: ConnectionRecord) => Effect.Effect<void> | undefined) => {
  if (mode === "off") return () => undefined;
  const line = (record: ConnectionRecord) =>
    Effect.annotateLogs(Effect.logInfo("connection"), fields(record));
  // A client that is turned away is not an error, and may come thousands of times a second: `DenialTally` logs a sum.
  return mode === "all"
    ? line
    : (record) => (isClean(record) || isDenial(record.by) ? undefined : line(record));
};
