/**
 * A backend's state in a word, and what that word leaves out: for the page and the command line, which have to say
 * the same. Pure, and without anything that a browser does not have.
 */
import type { BackendStatus } from "./Api.js";

type Backend = typeof BackendStatus.Type;

/** An operator's choice comes before health, for it explains why nothing new arrives. */
export const states = ["up", "down", "unchecked", "draining", "disabled"] as const;
export type State = (typeof states)[number];

export const stateOf = ({ admin, healthy, last_check }: Backend): State => {
  if (admin !== "enabled") return admin;
  if (healthy) return "up";
  return last_check === null ? "unchecked" : "down";
};

/**
 * What the state alone does not say: who chose it, why the backend is down, who chose its weight, and how much of that
 * it has during a slow start.
 */
export const reason = ({ admin, listed_weight, slow_start, steered_by, weighed_by, why }: Backend): string =>
  [
    ...(steered_by === null ? [] : [`by ${steered_by}`]),
    ...(why === null ? [] : [admin === "enabled" ? why : `down: ${why}`]),
    ...(weighed_by === null ? [] : [`weight by ${weighed_by} (listed: ${listed_weight})`]),
    ...(slow_start === null ? [] : [`slow start: ${Math.round(slow_start * 100)} % of its weight`]),
  ].join("; ");
