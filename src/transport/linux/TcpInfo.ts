/**
 * What the kernel knows of a connection (TCP_INFO).
 */
import { type Block, type Service, tcpInfo } from "./Libc.js";

export interface TcpInfo {
  readonly state: number;
  /** Milliseconds since data last came from the peer; since it was connected, where none has. */
  readonly sinceDataMillis: number;
  /** Milliseconds since the peer last acknowledged anything. */
  readonly sinceAckMillis: number;
  /** Segments in flight. */
  readonly unacked: number;
  /** How often the oldest of them was sent again. */
  readonly retransmits: number;
  /** Probes of a shut window, or of keepalive, since the last answer. */
  readonly probes: number;
}

/** Reads it of a descriptor, by way of a block of memory; undefined where the kernel does not say. */
export const read = (
  { info, libc }: { readonly info: Block; readonly libc: Pick<Service, "connectionInfo"> },
  fd: number,
): TcpInfo | undefined => {
  if (libc.connectionInfo(fd, info) < 0) return undefined;
  const { bytes } = info;
  const view = new DataView(bytes.buffer, bytes.byteOffset, tcpInfo.size);
  return {
    state: view.getUint8(tcpInfo.state),
    retransmits: view.getUint8(tcpInfo.retransmits),
    probes: view.getUint8(tcpInfo.probes),
    // In the byte order of the machine, which is little-endian wherever this runs.
    unacked: view.getUint32(tcpInfo.unacked, true),
    sinceDataMillis: view.getUint32(tcpInfo.lastDataReceived, true),
    sinceAckMillis: view.getUint32(tcpInfo.lastAckReceived, true),
  };
};
