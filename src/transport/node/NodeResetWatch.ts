/**
 * Watches a connection that is not relayed yet for its client breaking off. Node learns of that by reading: what it reads
 * meanwhile waits in the socket's own buffer. Where that is full, or the client has sent FIN, Node reads no more, and the
 * client is asked now and then ({@link NodeResetWatch.findReset}).
 */
import type { NodeConnection } from "./NodeConnection.js";
import { findReset, type Suspect } from "./NodeRelay.js";

export class NodeResetWatch implements Suspect {
  #over = false;

  constructor(
    readonly connection: NodeConnection,
    /** Those that are asked now and then. */
    readonly suspects: Set<Suspect>,
    /** Called once, and not after {@link stop}. */
    readonly onBroken: () => void,
  ) {}

  start(): void {
    const { socket } = this.connection;
    if (socket.destroyed) {
      setImmediate(this.#onClose);
      return;
    }
    socket.on("close", this.#onClose);
    this.suspects.add(this);
    // It begins to read, and hands nothing on.
    socket.read(0);
  }

  findReset(): void {
    findReset(this.connection.socket);
  }

  readonly #onClose = (): void => {
    if (this.#over) return;
    this.stop();
    this.onBroken();
  };

  /** The client is the caller's as before. */
  stop(): void {
    if (this.#over) return;
    this.#over = true;
    this.connection.socket.off("close", this.#onClose);
    this.suspects.delete(this);
  }
}
