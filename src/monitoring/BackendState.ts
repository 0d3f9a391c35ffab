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

/** What the state alone does not say: who chose it, and why the backend is down. */
export const reason = ({ admin, steered_by, why }: Backend): string => {
  const by = steered_by === null ? [] : [`by ${steered_by}`];
  return [...by, ...(why === null ? [] : [admin === "enabled" ? why : `down: ${why}`])].join("; ");
};
