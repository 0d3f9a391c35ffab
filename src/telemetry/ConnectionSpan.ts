/**
 * A connection as a span. It is made when the connection is over, from its record: a span that is open all the while
 * would cost every connection, and only a sample of them is sent.
 */
import { Context, Exit, Option, type Tracer } from "effect";
import { type ConnectionRecord, codeOf, isClean } from "../proxy/ConnectionRecord.js";

// Milliseconds as they are would lose what comes after the point.
const nanos = (millis: number): bigint => BigInt(Math.round(millis * 1000)) * 1000n;

/** Attributes of the OpenTelemetry conventions where there are any, and of our own where not. */
export const attributes = (record: ConnectionRecord): Readonly<Record<string, unknown>> => ({
  "network.transport": "tcp",
  "client.address": record.client.host,
  "client.port": record.client.port,
  ...(record.backend === undefined
    ? {}
    : {
        "server.address": record.backend.address.host,
        "server.port": record.backend.address.port,
        "lb.backend": record.backend.id,
      }),
  ...(record.connectMillis === undefined ? {} : { "lb.connect_ms": record.connectMillis }),
  "lb.id": record.id,
  "lb.code": codeOf(record),
  "lb.received": record.received,
  "lb.sent": record.sent,
  "lb.retries": record.retries,
});

/** Makes and ends the span; one that did not end in order has failed, with its termination code. */
export const emit = (tracer: Tracer.Tracer, record: ConnectionRecord): void => {
  const started = nanos(record.acceptedAt);
  const span = tracer.span("connection", Option.none(), Context.empty(), [], started, "server");
  for (const [name, value] of Object.entries(attributes(record))) span.attribute(name, value);
  span.end(nanos(record.acceptedAt + record.millis), isClean(record) ? Exit.void : Exit.fail(codeOf(record)));
};
