import { describe, expect, it } from "vitest";
import { reason, stateOf } from "../../src/monitoring/BackendState.js";
import { backendStatus } from "../support/BackendStatus.js";

describe("a backend's state", () => {
  it.each([
    [{}, "up"],
    [{ healthy: false }, "down"],
    [{ healthy: false, last_check: null }, "unchecked"],
    [{ admin: "draining", healthy: false }, "draining"],
    [{ admin: "disabled" }, "disabled"],
  ] as const)("of %j is %s", (more, state) => {
    expect(stateOf(backendStatus(more))).toBe(state);
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
    expect(reason(backendStatus(more))).toBe(explained);
  });
});
