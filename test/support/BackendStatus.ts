import type { BackendStatus } from "../../src/monitoring/Api.js";

type Status = typeof BackendStatus.Type;

/** A backend as monitoring tells of one that is up and has had no connection, but for what is given. */
export const backendStatus = (more: Partial<Status> = {}): Status => ({
  id: "a",
  address: "10.0.0.1:80",
  healthy: true,
  admin: "enabled",
  steered_by: null,
  since: null,
  why: null,
  last_check: "2026-01-01T00:00:00.000Z",
  role: "primary",
  weight: 1,
  slow_start: null,
  listed_weight: 1,
  weighed_by: null,
  weighed_since: null,
  max_connections: null,
  open: 0,
  peak: 0,
  total: 0,
  received: 0,
  sent: 0,
  connect_failures: 0,
  connect_ms: null,
  ...more,
});
