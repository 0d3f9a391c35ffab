/**
 * The open sessions of one listener, each in the place of its byte slot. Adding and removing touch one place and allocate
 * nothing: a Map is built anew again and again while its entries come and go, and its former tables keep sessions that
 * are over from V8's minor collections. A session keeps its place: a walk in slices meets all that stay.
 */
import type { Session } from "./Session.js";
import type { SessionFiber } from "./SessionFibers.js";

export class OpenSessions {
  readonly #sessions: Array<Session | undefined> = [];
  readonly #fibers: Array<SessionFiber | undefined> = [];
  #size = 0;

  get size(): number {
    return this.#size;
  }

  add(session: Session, fiber: SessionFiber): void {
    const { place } = session.bytes;
    this.#sessions[place] = session;
    this.#fibers[place] = fiber;
    this.#size += 1;
  }

  /** Does nothing where it is not in it. */
  delete(session: Session): void {
    const { place } = session.bytes;
    if (this.#sessions[place] !== session) return;
    this.#sessions[place] = undefined;
    this.#fibers[place] = undefined;
    this.#size -= 1;
  }

  /** Which fiber serves it; undefined where it is not in it. */
  fiberOf(session: Session): SessionFiber | undefined {
    const { place } = session.bytes;
    return this.#sessions[place] === session ? this.#fibers[place] : undefined;
  }

  *[Symbol.iterator](): IterableIterator<Session> {
    for (const session of this.#sessions) if (session !== undefined) yield session;
  }
}
