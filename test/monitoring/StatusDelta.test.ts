import { FastCheck as fc, Schema } from "effect";
import { describe, expect, it } from "vitest";
import { Change, type Status } from "../../src/monitoring/Api.js";
import { applied, keyOf, ofBackend, ofTotals } from "../../src/monitoring/StatusDelta.js";
import { backendStatus } from "../support/BackendStatus.js";
import { dataThread } from "../support/DataThread.js";

type Backend = ReturnType<typeof backendStatus>;

const backend = fc
  .record({
    id: fc.constantFrom("a", "b", "a b"),
    address: fc.constantFrom("10.0.0.1:80", "10.0.0.2:80"),
    open: fc.nat(2),
    healthy: fc.boolean(),
    why: fc.constantFrom(null, "it refused"),
    connect_ms: fc.constantFrom(null, 0.5),
  })
  .map(backendStatus);

const backends = fc.uniqueArray(backend, { selector: keyOf });

const totals = fc
  .record({
    open: fc.nat(2),
    queued: fc.nat(1),
    queued_total: fc.nat(1),
    refusals: fc.record({ "no-backend": fc.nat(1) }),
    discovered: fc.constantFrom(null, "then"),
    data_threads: fc.array(
      fc.nat(2).map((turns) => dataThread({ turns })),
      { maxLength: 2 },
    ),
    state_file: fc.option(
      fc.record({
        file: fc.constant("/state"),
        loaded: fc.constantFrom(null, "then"),
        serving: fc.boolean(),
        written: fc.constantFrom(null, "then"),
        error: fc.constantFrom(null, "no room"),
      }),
    ),
  })
  .map(
    (fields): Omit<typeof Status.Type, "backends"> => ({
      status: "healthy",
      algorithm: "round-robin",
      version: null,
      transport: "node",
      now: "2026-01-01T00:00:00.000Z",
      started: "2026-01-01T00:00:00.000Z",
      uptime_seconds: 1,
      total_backends: 0,
      healthy_backends: 0,
      total: 0,
      refused: 0,
      last_refused: null,
      received: 0,
      sent: 0,
      ...fields,
    }),
  );

const status = fc.tuple(totals, backends).map(([fields, list]) => ({ ...fields, backends: list }));

/** What is sent of a change, and read again. */
const change = (before: typeof Status.Type, after: typeof Status.Type) => {
  const old = new Map(before.backends.map((each) => [keyOf(each), each]));
  const now = new Set(after.backends.map(keyOf));
  const { backends: _, ...oldTotals } = before;
  const { backends: __, ...newTotals } = after;
  const sent = {
    ...ofTotals(oldTotals, newTotals),
    backends: after.backends.flatMap((each) => ofBackend(old.get(keyOf(each)), each) ?? []),
    removed: before.backends
      .filter((each) => !now.has(keyOf(each)))
      .map(({ address, id }) => ({ address, id })),
  };
  return { sent, read: Schema.decodeUnknownSync(Change)(JSON.parse(JSON.stringify(sent))) };
};

const sorted = (list: ReadonlyArray<Backend>) =>
  [...list].sort((left, right) => (keyOf(left) < keyOf(right) ? -1 : 1));

describe("a change", () => {
  it("makes the status after it of the one before it", () => {
    fc.assert(
      fc.property(status, status, (before, after) => {
        const { backends: made, ...rest } = applied(before, change(before, after).read);
        const { backends: expected, ...expectedRest } = after;
        expect(rest).toEqual(expectedRest);
        expect(sorted(made)).toEqual(sorted(expected));
      }),
    );
  });

  it("has nothing but the time where nothing has changed", () => {
    fc.assert(
      fc.property(status, (same) => {
        const { now, uptime_seconds } = same;
        expect(change(same, structuredClone(same)).sent).toEqual({
          now,
          uptime_seconds,
          backends: [],
          removed: [],
        });
      }),
    );
  });
});
