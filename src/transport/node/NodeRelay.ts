/**
 * Two of Node's sockets and the bytes between them, in plain callbacks; no fiber sees a chunk. Effect's socket modules
 * are not used here because they neither keep half-close nor slow a sender down.
 */
import type { Socket } from "node:net";
import type { ByteCounts } from "../../net/ByteCounts.js";
import type { RelayEnd, RelayOutcome } from "../Transport.js";
import type { LoopIterations } from "./LoopIterations.js";
import { ignoreErrors, reset } from "./NodeConnection.js";

const nothing = new Uint8Array();

/** Something with sockets that may have been reset without being told. */
export interface Suspect {
  readonly findReset: () => void;
}

/**
 * Node reads no more from a side that has sent FIN, or of which much is unread, so a reset that follows is not reported. A
 * write of nothing fails after one, and sends nothing otherwise.
 */
export const findReset = (socket: Socket): void => {
  if (!socket.writableEnded && socket.writableLength === 0) socket.write(nothing);
};

/** What relays of one transport share. */
export interface Shared {
  readonly iterations: LoopIterations;
  /** They are asked now and then: relays of which one side has sent FIN and the other has not, and clients that wait. */
  readonly suspects: Set<Suspect>;
}

/**
 * `data` and `drain` are the hot path: what the kernel does not take of a write waits in the socket's own buffer, and
 * its sender is paused until that is empty.
 */
export class NodeRelay implements Suspect {
  #ended: RelayEnd | undefined;
  #failed = false;
  #open = 2;

  constructor(
    readonly client: Socket,
    readonly backend: Socket,
    readonly counts: ByteCounts,
    readonly onEnd: (outcome: RelayOutcome) => void,
    readonly shared: Shared,
    /** Bytes of the client's that were read before, and are not counted. */
    readonly headLength = 0,
  ) {
    this.#attach(client, backend, "received", "client-closed", "client-reset");
    this.#attach(backend, client, "sent", "backend-closed", "backend-reset");
    client.resume();
    backend.resume();
  }

  #attach(from: Socket, to: Socket, counter: "received" | "sent", closed: RelayEnd, broken: RelayEnd): void {
    if (from.destroyed) {
      // It broke between being connected and being relayed: its events are over.
      this.#open -= 1;
      this.#fail(broken, to);
      if (this.#open === 0) queueMicrotask(() => this.#end());
      return;
    }
    const {
      counts,
      shared: { iterations, suspects },
    } = this;
    let lastRead = -1;
    let paused = false;
    from.on("data", (chunk) => {
      lastRead = iterations.current;
      counts[counter] += chunk.length;
      paused = !to.write(chunk);
      if (paused) from.pause();
    });
    from.on("drain", () => to.resume());
    const onEnd = (): void => {
      this.#ended ??= closed;
      counts.halfClosed = true;
      suspects.add(this);
      // Node may emit 'end' instead of a reset when RST follows data in the same iteration (or later, if it was paused
      // then). An end that arrives alone is read in a later iteration. Test by writing zero bytes: it fails after a
      // reset. Not possible after end() or with pending writes.
      const sameIteration = paused || lastRead === iterations.current;
      if (!sameIteration || from.writableEnded || from.writableLength > 0) to.end();
      else {
        from.write(nothing, (error) => {
          if (error == null) to.end();
        });
      }
    };
    // Its FIN may have been read before, with nothing in front of it.
    if (from.readableEnded) onEnd();
    else from.on("end", onEnd);
    from.on("error", () => this.#fail(broken, to));
    from.on("close", () => {
      // V8's minor collections do not free Node's sockets (seen in Node 20 and 24): everything reachable from their
      // listeners, the work of the session's fiber included, would stay until a major one.
      from.removeAllListeners();
      ignoreErrors(from);
      this.#open -= 1;
      if (this.#open === 0) this.#end();
    });
  }

  findReset(): void {
    for (const socket of [this.client, this.backend]) if (socket.readableEnded) findReset(socket);
  }

  #fail(reason: RelayEnd, other: Socket): void {
    if (!this.#failed) this.#ended = reason;
    this.#failed = true;
    reset(other);
  }

  #end(): void {
    this.shared.suspects.delete(this);
    this.onEnd({
      // Unknown after an abort; then it is not reported.
      end: this.#ended ?? "client-reset",
      received: this.client.bytesRead - this.headLength,
      sent: this.backend.bytesRead,
    });
  }

  /** Resets both sides. */
  abort(): void {
    reset(this.client);
    reset(this.backend);
  }
}
