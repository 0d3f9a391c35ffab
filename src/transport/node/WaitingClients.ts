/**
 * Clients for whom there is no place: Node cannot leave them in the kernel's queue, so they wait here, unread, in the
 * order in which they came.
 */
import type { Socket } from "node:net";
import { AcceptQueueTimeout } from "../AcceptQueueTimeout.js";
import { Places } from "../Places.js";

export class WaitingClients {
  readonly #places: Places;
  readonly #waiting = new Set<Socket>();
  readonly #timeout = new AcceptQueueTimeout();

  constructor(
    most: number,
    /** How many may wait. */
    readonly longest: number,
    readonly onPlace: (socket: Socket) => void,
    /** One that is reset. */
    readonly onRefused: (socket: Socket) => void,
    readonly onFull: () => void,
  ) {
    this.#places = new Places(most);
  }

  /** A client that was accepted is served, waits, or is refused. */
  come(socket: Socket): void {
    if (!this.#places.full) this.#serve(socket);
    else if (this.#waiting.size >= this.longest) this.onRefused(socket);
    else {
      this.#waiting.add(socket);
      socket.once("close", () => this.#waiting.delete(socket));
      this.onFull();
    }
  }

  #serve(socket: Socket): void {
    this.#places.take();
    socket.once("close", () => {
      this.#places.leave();
      this.#next();
    });
    this.onPlace(socket);
  }

  #next(): void {
    const [socket] = this.#waiting;
    if (socket === undefined || this.#places.full) return;
    this.#waiting.delete(socket);
    this.#serve(socket);
  }

  /** Refuses some of the waiting clients if no client has left for long. To be called about twice a second. */
  look(now: number): void {
    if (this.#waiting.size === 0) return;
    this.#refuse(this.#timeout.full(now, this.#places.left));
  }

  /** Refuses all waiting clients. */
  close(): void {
    this.#refuse(this.#waiting.size);
  }

  #refuse(count: number): void {
    for (const socket of [...this.#waiting].slice(0, count)) {
      this.#waiting.delete(socket);
      this.onRefused(socket);
    }
  }
}
