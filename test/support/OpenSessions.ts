/**
 * Sessions as a listener registers them, for tests of what reads them.
 */
import { Effect } from "effect";
import type { Backend } from "../../src/backend/Backend.js";
import type { Bytes } from "../../src/metrics/Recorder.js";
import type { Group, ListenerPhase } from "../../src/proxy/Sessions.js";

/** A listener in a phase, with sessions that have carried so much. */
export const group = (
  phase: ListenerPhase,
  ...sessions: ReadonlyArray<{ readonly backend: Backend | undefined; readonly bytes: Bytes }>
): Group => ({
  size: sessions.length,
  phase,
  forEach: (visit) => sessions.forEach(visit),
  list: () => [],
  sample: () => Effect.succeed([]),
  cut: () => Effect.succeed(undefined),
});
