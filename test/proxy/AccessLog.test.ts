import { readFileSync } from "node:fs";
import { assert, describe, it } from "@effect/vitest";
import { Effect, Logger } from "effect";
import * as AccessLog from "../../src/proxy/AccessLog.js";
import type { ConnectionRecord, EndedBy, Phase } from "../../src/proxy/ConnectionRecord.js";
import * as CapturedLog from "../support/CapturedLog.js";

const record: ConnectionRecord = {
  id: 1876543210987654,
  client: { host: "203.0.113.9", port: 51324 },
  backend: undefined,
  backendConnections: 0,
  acceptedAt: Date.parse("2026-11-23T19:01:25.870Z"),
  queueMillis: undefined,
  connectMillis: undefined,
  millis: 243.1184,
  received: 517,
  sent: 20480,
  retries: 1,
  by: "client",
  phase: "relaying",
};

/** Whether it is left out of the errors. */
const everyEnd: Readonly<Record<EndedBy, boolean>> = {
  client: true,
  backend: true,
  "client-reset": false,
  "backend-reset": false,
  "no-backend": false,
  "backends-full": false,
  "queue-full": false,
  "queue-timeout": false,
  "connect-failed": false,
  "at-capacity": false,
  "proxy-header": false,
  denied: true,
  "client-limit": true,
  "client-rate": true,
  "drain-timeout": false,
  "thread-lost": false,
  disabled: false,
  cut: false,
  "backend-down": false,
  "max-age": false,
  "idle-timeout": false,
  "half-closed-timeout": false,
  defect: false,
};
const everyPhase: Readonly<Record<Phase, true>> = {
  choosing: true,
  queued: true,
  connecting: true,
  relaying: true,
  draining: true,
};
const ends = Object.keys(everyEnd) as ReadonlyArray<EndedBy>; // the keys of a record of all of them

const told = (mode: "off" | "errors" | "all") =>
  Effect.gen(function* () {
    const log = yield* CapturedLog.make;
    const tell = AccessLog.make(mode);
    yield* Effect.forEach(ends, (by) => tell({ ...record, by }) ?? Effect.void).pipe(
      Effect.provide(log.layer),
      Effect.provide(Logger.remove(Logger.defaultLogger)),
    );
    return log.lines.map(({ annotations }) => annotations["code"]);
  });

describe("AccessLog", () => {
  it.effect(
    "tells of no connection, of those that did not end in order and were not turned away, or of all",
    () =>
      Effect.gen(function* () {
        assert.deepStrictEqual(yield* told("off"), []);
        assert.deepStrictEqual(
          yield* told("errors"),
          ends.filter((by) => !everyEnd[by]).map((by) => `${by}/relaying`),
        );
        assert.lengthOf(yield* told("all"), ends.length);
      }),
  );

  it("has the fields that docs/access-log.md explains", () => {
    const page = readFileSync(new URL("../../docs/access-log.md", import.meta.url), "utf8");
    const shown = AccessLog.fields(record);
    assert.deepStrictEqual(shown, {
      id: 1876543210987654,
      code: "client/relaying",
      client: "203.0.113.9:51324",
      backend: null,
      accepted: "2026-11-23T19:01:25.870Z",
      connect_ms: null,
      duration_ms: 243.118,
      received: 517,
      sent: 20480,
      retries: 1,
      backend_connections: 0,
    });
    for (const name of Object.keys(shown)) assert.include(page, `"${name}"`);
    for (const word of [...ends, ...Object.keys(everyPhase)]) assert.include(page, `| \`${word}\` |`);
  });
});
