/**
 * A connection that is one of Node's sockets.
 */
import type { Socket } from "node:net";
import { canonical } from "../../net/IpAddress.js";
import type { SocketAddress } from "../../net/SocketAddress.js";
import type { Connection } from "../Transport.js";

const ignore = (): void => {};

/** A socket without an error listener ends the process when its peer resets it. */
export const ignoreErrors = (socket: Socket): void => {
  socket.on("error", ignore);
};

/**
 * Sends RST. Node is refused that while it sends FIN (EINVAL), and then forgets the descriptor without closing it: so
 * it waits until that is done, which is in the next turn of the loop.
 */
export const reset = (socket: Socket): void => {
  const sendsFin = socket.writableEnded && !socket.writableFinished && socket.writableLength === 0;
  if (sendsFin) socket.once("finish", () => socket.resetAndDestroy());
  else socket.resetAndDestroy();
};

export class NodeConnection implements Connection {
  /** Bytes that were read from it before it is relayed. */
  headLength = 0;

  constructor(
    readonly socket: Socket,
    readonly remote: SocketAddress,
  ) {
    ignoreErrors(socket);
  }
  get local(): SocketAddress | undefined {
    const { localAddress, localPort } = this.socket;
    return localAddress === undefined || localPort === undefined
      ? undefined
      : { host: canonical(localAddress), port: localPort };
  }

  readonly close = (): void => this.socket.destroySoon();
  readonly reset = (): void => reset(this.socket);
}
