/**
 * Connecting by an operation of the ring.
 */
import type { SocketAddress } from "../../net/SocketAddress.js";
import { Connecting, type Destination, type Settled, unexplained } from "./Connecting.js";
import type { Engine } from "./Engine.js";
import type { Result } from "./Libc.js";
import { type Completing, noSlot, type Ring } from "./Ring.js";
import type { Socket } from "./Socket.js";

/** Its only operation. */
const connecting = 0;

export class RingConnecting extends Connecting implements Completing {
  slot = noSlot;
  #abandoned: Socket | undefined;
  #underWay = false;

  constructor(
    engine: Engine,
    readonly ring: Ring,
    remote: SocketAddress,
    onSettled: (result: Settled) => void,
  ) {
    super(engine, remote, onSettled);
  }

  protected override begin(socket: Socket, destination: Destination): Result {
    const enlisted = this.ring.enlist(this);
    if (enlisted < 0) return enlisted;
    this.engine.track(socket);
    this.ring.connect(this, connecting, socket.fd, destination);
    this.#underWay = true;
    return 0;
  }

  onCompletion(_operation: number, result: Result): void {
    this.#underWay = false;
    this.ring.dismiss(this);
    if (this.#abandoned !== undefined) this.#abandoned.end(true);
    else if (result < 0) this.fail(result);
    else this.made();
  }

  onFault(): void {
    this.fail(unexplained);
  }

  /** The descriptor stays open until the operation has ended. */
  protected override abandon(socket: Socket): void {
    if (!this.#underWay) {
      socket.end(true);
    } else if (this.#abandoned === undefined) {
      this.#abandoned = socket;
      this.ring.cancel(this, connecting);
    }
  }
}
