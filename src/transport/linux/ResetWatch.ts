/**
 * Watches an accepted connection that is not relayed yet for its client breaking off. Nothing is read, and what arrives
 * brings no event.
 */
import { brokenOff } from "./Engine.js";
import type { Owner, Socket } from "./Socket.js";

export class ResetWatch implements Owner {
  #over = false;

  constructor(
    readonly socket: Socket,
    /** Called once, and not after {@link stop}. */
    readonly onBroken: () => void,
  ) {}

  start(): void {
    const { socket } = this;
    if (socket.closed) {
      socket.engine.hostLoop.soon(() => this.#broken());
      return;
    }
    socket.owner = this;
    if (socket.watch(brokenOff) < 0) socket.engine.hostLoop.soon(() => this.#broken());
  }

  onReady(socket: Socket): void {
    if (socket.failed) this.#broken();
  }

  onLost(socket: Socket, reset: boolean): void {
    socket.end(reset);
    this.#broken();
  }

  #broken(): void {
    if (this.#over) return;
    this.stop();
    this.onBroken();
  }

  /** The client is the caller's as before. */
  stop(): void {
    if (this.#over) return;
    this.#over = true;
    const { socket } = this;
    if (socket.closed) return;
    socket.owner = undefined;
    // Whoever has it next, another thread perhaps, watches it from the beginning.
    socket.unwatch();
  }
}
