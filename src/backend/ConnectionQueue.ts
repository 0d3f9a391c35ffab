/**
 * The queue of clients that wait for a place at a backend while all healthy backends are full: its order, and which
 * client is given a place. First come, first served. Exception: where the algorithm prefers a backend for each client
 * (ip-hash), a place of that backend is given to the first client that prefers it.
 *
 * No Effect and no clock. Work is done in steps of one client each, so that it can be done in slices. There are two kinds:
 * places are offered, from the first client on, after one may have opened; and all clients are checked after the backends
 * have changed. Clients may join and leave between two steps. Invariant: once a step answers `Ended`, no client waits
 * while a place is open that it may be given.
 */
import type { Client } from "../balancing/Algorithm.js";
import type { Backend } from "./Backend.js";
import * as Pool from "./Pool.js";

/** A place in a list. */
class Link<A> {
  ahead: Link<A> | undefined;
  behind: Link<A> | undefined;
  constructor(readonly value: A) {}
}

/** A list in the order of joining, which anybody may leave. */
class Line<A> {
  first: Link<A> | undefined;
  #last: Link<A> | undefined;

  join(value: A): Link<A> {
    const link = new Link(value);
    link.ahead = this.#last;
    if (this.#last === undefined) this.first = link;
    else this.#last.behind = link;
    this.#last = link;
    return link;
  }

  leave({ ahead, behind }: Link<A>): void {
    if (ahead === undefined) this.first = behind;
    else ahead.behind = behind;
    if (behind === undefined) this.#last = ahead;
    else behind.ahead = ahead;
  }
}

/** A waiting client, as far as the policy needs it. */
export interface Waiter {
  readonly client: Client;
  /** Backends to which its connect has failed: it is given none of them. */
  readonly tried: ReadonlyArray<Backend>;
}

/** The position of a waiting client. */
class Standing<W> {
  link: Link<Standing<W>> | undefined;
  /** The clients that prefer the same backend. */
  chosen: Chosen<W> | undefined;
  chosenLink: Link<Standing<W>> | undefined;
  constructor(readonly waiter: W) {}
}

/** The clients that prefer one backend, which is named by its incarnation. */
class Chosen<W> extends Line<Standing<W>> {
  constructor(readonly incarnation: number) {
    super();
  }
}

/** What a step came to. */
export type Step<W> =
  /** A client has been given a place, and has left. */
  | { readonly _tag: "Assigned"; readonly waiter: W; readonly assignment: Pool.Assignment }
  /** A client has left: there is no backend that it could wait for. */
  | { readonly _tag: "Hopeless"; readonly waiter: W }
  /** A client has left: the algorithm threw when it was asked for this client. */
  | { readonly _tag: "Broken"; readonly waiter: W; readonly defect: unknown }
  /** A client goes on waiting. */
  | { readonly _tag: "Waits" }
  /** There is nothing to be done. */
  | { readonly _tag: "Ended" };

const waits: Step<never> = { _tag: "Waits" };
const ended: Step<never> = { _tag: "Ended" };

const nothingTried: ReadonlyArray<Backend> = [];

export class ConnectionQueue<W extends Waiter> {
  readonly #line = new Line<Standing<W>>();
  readonly #standings = new Map<W, Standing<W>>();
  /** Waiting clients by the backend that they prefer, in the order of the queue. */
  readonly #chosen = new Map<number, Chosen<W>>();
  /** The client that is offered a place next; undefined when no place is offered. */
  #offered: Link<Standing<W>> | undefined;
  /** The client that is checked next; undefined when none is left, though `#checking` holds until the next step. */
  #checked: Link<Standing<W>> | undefined;
  #checking = false;
  /** The backends have changed since the check began. */
  #changed = false;

  constructor(
    /** The maximum number of waiting clients. */
    readonly most: number,
  ) {}

  /** The number of waiting clients. */
  get size(): number {
    return this.#standings.size;
  }

  get isFull(): boolean {
    return this.size >= this.most;
  }

  /** Adds a client at the end; the queue must not be full. Answers the pool with the algorithm's next state. */
  join(waiter: W, pool: Pool.Pool): Pool.Pool {
    const standing = new Standing(waiter);
    standing.link = this.#line.join(standing);
    this.#standings.set(waiter, standing);
    if (this.#checking) {
      this.#checked ??= standing.link;
      return pool;
    }
    try {
      return this.#choose(standing, pool);
    } catch (defect) {
      this.leave(waiter);
      throw defect;
    }
  }

  /** Removes a client; false if it was not waiting. */
  leave(waiter: W): boolean {
    const standing = this.#standings.get(waiter);
    if (standing?.link === undefined) return false;
    this.#standings.delete(waiter);
    if (this.#offered === standing.link) this.#offered = standing.link.behind;
    if (this.#checked === standing.link) this.#checked = standing.link.behind;
    this.#line.leave(standing.link);
    this.#unchoose(standing);
    return true;
  }

  /** To be called when a place may have opened: the next steps offer it, from the first client on. */
  offer(): void {
    this.#offered = this.#line.first;
  }

  /** To be called when the backends have changed: the next steps check whether each client may wait, and what it prefers. */
  check(): void {
    this.offer();
    // A check that is under way is finished first: however often backends change, places are offered between checks.
    if (this.#checking) this.#changed = true;
    else this.#beginCheck();
  }

  #beginCheck(): void {
    this.#changed = false;
    this.#checking = true;
    this.#checked = this.#line.first;
    this.#chosen.clear();
  }

  /** Makes the next step. All clients are checked before places are offered, as the check finds what they prefer. */
  step(pool: Pool.Pool): readonly [Pool.Pool, Step<W>] {
    if (this.#checked !== undefined) return this.#check(this.#checked, pool);
    this.#checking = false;
    if (this.#offered !== undefined && Pool.hasPlace(pool, nothingTried)) {
      return this.#offerTo(this.#offered, pool);
    }
    this.#offered = undefined;
    if (!this.#changed) return [pool, ended];
    this.#beginCheck();
    this.offer();
    return [pool, waits];
  }

  #offerTo(link: Link<Standing<W>>, pool: Pool.Pool): readonly [Pool.Pool, Step<W>] {
    const { waiter } = link.value;
    if (Pool.hasPlace(pool, waiter.tried)) {
      try {
        const [after, assignment] = Pool.assigned(pool, waiter.client, waiter.tried);
        if (assignment !== undefined) {
          const first = this.#chosen.get(assignment.backend.incarnation)?.first?.value.waiter ?? waiter;
          this.leave(first);
          return [after, { _tag: "Assigned", waiter: first, assignment }];
        }
      } catch (defect) {
        this.leave(waiter);
        return [pool, { _tag: "Broken", waiter, defect }];
      }
    }
    this.#offered = link.behind;
    return [pool, waits];
  }

  #check(link: Link<Standing<W>>, pool: Pool.Pool): readonly [Pool.Pool, Step<W>] {
    const { waiter } = link.value;
    if (!Pool.mayWait(pool, waiter.tried)) {
      this.leave(waiter);
      return [pool, { _tag: "Hopeless", waiter }];
    }
    this.#checked = link.behind;
    try {
      return [this.#choose(link.value, pool), waits];
    } catch (defect) {
      this.leave(waiter);
      return [pool, { _tag: "Broken", waiter, defect }];
    }
  }

  #choose(standing: Standing<W>, pool: Pool.Pool): Pool.Pool {
    const { client, tried } = standing.waiter;
    const [after, backend] = Pool.preferred(pool, client);
    this.#unchoose(standing);
    if (backend === undefined) return after;
    const { incarnation } = backend;
    if (tried.some((one) => one.incarnation === incarnation)) return after;
    const chosen = this.#chosen.get(incarnation) ?? new Chosen(incarnation);
    this.#chosen.set(incarnation, chosen);
    standing.chosen = chosen;
    standing.chosenLink = chosen.join(standing);
    return after;
  }

  #unchoose(standing: Standing<W>): void {
    const { chosen, chosenLink } = standing;
    if (chosen === undefined || chosenLink === undefined) return;
    standing.chosen = undefined;
    standing.chosenLink = undefined;
    chosen.leave(chosenLink);
    const { incarnation } = chosen;
    if (chosen.first === undefined && this.#chosen.get(incarnation) === chosen)
      this.#chosen.delete(incarnation);
  }
}
