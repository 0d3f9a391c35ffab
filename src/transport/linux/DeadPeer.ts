/**
 * Dead peer detection: whether a peer is gone with data in flight to it, because its host lost power or the network to
 * it is broken. No packet says so, and the kernel retransmits for a quarter of an hour. Keepalive ends idle connections
 * only; it is silent while data is unacknowledged.
 *
 * A reader that keeps its window shut for long is alive: it acknowledges each window probe of the kernel.
 */
import { type Block, TCP_SYN_SENT, tcpInfo } from "./Libc.js";

/** What the kernel knows of a connection (TCP_INFO). */
export interface ConnectionInfo {
  readonly state: number;
  /** Milliseconds since the peer last acknowledged anything. */
  readonly sinceAckMillis: number;
  /** Segments in flight. */
  readonly unacked: number;
  /** How often the oldest of them was sent again. */
  readonly retransmits: number;
  /** Probes of a shut window, or of keepalive, since the last acknowledgement. */
  readonly probes: number;
}

/** The time without an acknowledgement, in milliseconds. */
export const silenceMillis = 120_000;

const unansweredProbes = 2;

/** Whether the peer is dead. While it is being connected to, the deadline of that decides instead. */
export const isDead = ({ probes, retransmits, sinceAckMillis, state, unacked }: ConnectionInfo): boolean =>
  state !== TCP_SYN_SENT &&
  sinceAckMillis >= silenceMillis &&
  ((unacked > 0 && retransmits > 0) || probes >= unansweredProbes);

/** Reads what `connectionInfo` has written into a block. */
export const read = ({ bytes }: Block): ConnectionInfo => {
  const view = new DataView(bytes.buffer, bytes.byteOffset, tcpInfo.size);
  return {
    state: view.getUint8(tcpInfo.state),
    retransmits: view.getUint8(tcpInfo.retransmits),
    probes: view.getUint8(tcpInfo.probes),
    // In the byte order of the machine, which is little-endian wherever this runs.
    unacked: view.getUint32(tcpInfo.unacked, true),
    sinceAckMillis: view.getUint32(tcpInfo.lastAckReceived, true),
  };
};
