import type { DataThread } from "../../src/monitoring/Api.js";

type Thread = typeof DataThread.Type;

/** A data thread as monitoring tells of one that has just begun, but for what is given. */
export const dataThread = (more: Partial<Thread> = {}): Thread => ({
  name: "data thread 0",
  connections: 0,
  cpu_seconds: null,
  phase: "waiting",
  responsive: true,
  silent_seconds: 0,
  turns: 0,
  waits: 0,
  orders: 0,
  reports: 0,
  ...more,
});
