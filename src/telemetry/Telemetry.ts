/**
 * Where finished connections are reported beside the log and the metrics; nowhere, unless the program chose a place.
 */
import { Context, Layer } from "effect";
import type { ConnectionRecord } from "../proxy/ConnectionRecord.js";

export class Telemetry extends Context.Tag("zeitwork-load-balancer/Telemetry")<
  Telemetry,
  {
    /** Called with each connection when it is over, on its path: it has to be quick. Undefined if nothing listens. */
    readonly connectionEnded: ((record: ConnectionRecord) => void) | undefined;
  }
>() {}

export const none: Layer.Layer<Telemetry> = Layer.succeed(Telemetry, { connectionEnded: undefined });
