/**
 * The open sessions of one listener, each at the index of its byte slot. Adding and removing write one element and
 * allocate nothing. A Map with much churn rehashes; its old tables keep dead sessions alive until a major GC. A session
 * keeps its index, so an iteration in slices visits every session that stays open.
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

  /** Does nothing if it is not included. */
  delete(session: Session): void {
    const { place } = session.bytes;
    if (this.#sessions[place] !== session) return;
    this.#sessions[place] = undefined;
    this.#fibers[place] = undefined;
    this.#size -= 1;
  }

  /** The fiber that serves it; undefined if it is not included. */
  fiberOf(session: Session): SessionFiber | undefined {
    const { place } = session.bytes;
    return this.#sessions[place] === session ? this.#fibers[place] : undefined;
  }

  *[Symbol.iterator](): IterableIterator<Session> {
    for (const session of this.#sessions) if (session !== undefined) yield session;
  }
}
