/** How stalls are told, and what they do to deadlines. Apart, as threads that load no Effect need it too. */

/** A timer that comes at least this much late means a stall, in milliseconds. */
export const stallMillis = 500;

/** By how much stalls may extend one deadline in all, in milliseconds. */
export const longestExtension = 30_000;

/** How often a running deadline looks for stalls, in milliseconds. */
export const lookMillis = 250;
