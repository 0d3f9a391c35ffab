/**
 * Divides the descriptors of this process among monitoring, probes, clients with their backends, and the rest. Pure.
 */
import type { Descriptors } from "./Descriptors.js";

const mostForMonitoring = 256;

/** How many connections monitoring may have at a time. They are subtracted from what clients' connections may use. */
export const forMonitoring = (limit: number | undefined): number =>
  limit === undefined ? mostForMonitoring : Math.min(mostForMonitoring, Math.max(12, limit >> 3));

/** Descriptors that are reserved for probes, pipes, discovery and the log. */
const forOthers = (limit: number): number => Math.min(512, Math.max(8, limit >> 3));

/** How many probes of backends may be in progress at a time. */
export const forProbes = (limit: number | undefined): number =>
  limit === undefined ? 256 : forOthers(limit) >> 1;

/**
 * How many clients' connections fit below the limit, each with one more descriptor for its backend; undefined if no
 * limit is known. So descriptors run out for new clients, which wait to be accepted, and never for the backends of
 * accepted ones.
 */
export const forClients = (now: Descriptors | undefined): number | undefined =>
  now?.limit === undefined
    ? undefined
    : Math.max(1, (now.limit - now.open - forMonitoring(now.limit) - forOthers(now.limit)) >> 1);
