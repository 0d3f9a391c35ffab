/**
 * Dead peer detection: whether a peer is gone with data in flight to it, because its host lost power or the network to
 * it is broken. No packet says so, and the kernel retransmits for a quarter of an hour. Keepalive ends idle connections
 * only; it is silent while data is unacknowledged.
 *
 * A reader that keeps its window shut for long is alive: it acknowledges each window probe of the kernel.
 */
import { TCP_SYN_SENT } from "./Libc.js";
import type { TcpInfo } from "./TcpInfo.js";

/** The time without an acknowledgement, in milliseconds. */
export const silenceMillis = 120_000;

const unansweredProbes = 2;

/** Whether the peer is dead. While it is being connected to, the deadline of that decides instead. */
export const isDead = ({ probes, retransmits, sinceAckMillis, state, unacked }: TcpInfo): boolean =>
  state !== TCP_SYN_SENT &&
  sinceAckMillis >= silenceMillis &&
  ((unacked > 0 && retransmits > 0) || probes >= unansweredProbes);
