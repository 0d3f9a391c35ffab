/**
 * The backends of the soak: what they do with a connection is said by its first byte.
 */
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { createServer, type Server, type Socket } from "node:net";

/** What a client may ask of a backend. */
export const ask = {
  /** All that follows comes back, and the end after it. */
  echo: 0x45,
  /** The backend breaks off when something follows. */
  reset: 0x52,
  /** The backend says `farewell`, ends its side, and reads on. */
  farewell: 0x46,
} as const;

export const farewell = Buffer.from("farewell");

const serve = (socket: Socket): void => {
  socket.on("error", () => {});
  socket.once("data", (first) => {
    const rest = first.subarray(1);
    switch (first[0]) {
      case ask.reset:
        if (rest.length > 0) socket.resetAndDestroy();
        else socket.once("data", () => socket.resetAndDestroy());
        return;
      case ask.farewell:
        socket.end(farewell);
        socket.resume();
        return;
      default:
        if (rest.length > 0) socket.write(rest);
        socket.pipe(socket);
    }
  });
  socket.on("end", () => socket.end());
};

export class Backend {
  /** How many times one has died. What it had not sent by then is lost, and its kernel may end in order all the same. */
  static deaths = 0;
  #server: Server | undefined;
  readonly #open = new Set<Socket>();
  /** It accepts, and breaks off at once. */
  resetting = false;
  port = 0;

  /** Connections that the kernel holds for it. */
  constructor(readonly backlog = 511) {}

  async start(): Promise<void> {
    const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
      this.#open.add(socket);
      socket.on("close", () => this.#open.delete(socket));
      if (this.resetting) {
        socket.on("error", () => {});
        socket.resetAndDestroy();
      } else serve(socket);
    });
    this.#server = server;
    server.listen({ port: this.port, host: "127.0.0.1", backlog: this.backlog });
    await once(server, "listening");
    this.port = (server.address() as AddressInfo).port; // it listens on a port
  }

  /** Dies as a process does: nothing listens any more, and all that is open breaks. */
  async die(): Promise<void> {
    const server = this.#server;
    if (server === undefined) return;
    this.#server = undefined;
    Backend.deaths += 1;
    const closed = once(server, "close");
    server.close();
    for (const socket of this.#open) socket.resetAndDestroy();
    await closed;
  }
}
