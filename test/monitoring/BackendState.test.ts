import { describe, expect, it } from "vitest";
import type { BackendStatus } from "../../src/monitoring/Api.js";
import { reason, stateOf } from "../../src/monitoring/BackendState.js";

const up: typeof BackendStatus.Type = {
  id: "a",
  address: "10.0.0.1:80",
  healthy: true,
  admin: "enabled",
  steered_by: null,
  since: null,
  why: null,
  last_check: "2026-01-01T00:00:00.000Z",
  open: 0,
  peak: 0,
  total: 0,
  received: 0,
  sent: 0,
  connect_failures: 0,
  connect_ms: null,
};

describe("a backend's state", () => {
  it.each([
    [{}, "up"],
    [{ healthy: false }, "down"],
    [{ healthy: false, last_check: null }, "unchecked"],
    [{ admin: "draining", healthy: false }, "draining"],
    [{ admin: "disabled" }, "disabled"],
  ] as const)("of %j is %s", (more, state) => {
    expect(stateOf({ ...up, ...more })).toBe(state);
  });

  it.each([
    [{}, ""],
    [{ healthy: false, why: "it refused" }, "it refused"],
    [{ admin: "draining", steered_by: "10.0.0.9" }, "by 10.0.0.9"],
    [
      { admin: "disabled", steered_by: "10.0.0.9", healthy: false, why: "it refused" },
      "by 10.0.0.9; down: it refused",
    ],
  ] as const)("of %j is explained by: %s", (more, explained) => {
    expect(reason({ ...up, ...more })).toBe(explained);
  });
});
