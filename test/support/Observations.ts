/**
 * Observations of backends, for tests. Each attempt begins after all that is known: none counts as one with another.
 */
import type { Failure, Observation } from "../../src/backend/Health.js";

export const succeeded: Observation = { by: "probe", began: Number.POSITIVE_INFINITY, failure: undefined };

export const failed = (
  message: string,
  reason: Failure["reason"] = "refused",
  by: Observation["by"] = "probe",
): Observation => ({ by, began: Number.POSITIVE_INFINITY, failure: { reason, message } });
