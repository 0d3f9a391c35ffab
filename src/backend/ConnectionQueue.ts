/**
 * The queue of clients that wait for a place at a backend, while all healthy ones have as many connections as they may
 * have: who is next, and to whom a place goes. First come, first served; a place of a backend that is the chosen one of
 * somebody who waits (ip-hash) goes to the first of those.
 *
 * No Effect and no clock. There are two kinds of work, done in steps that look at one of those who wait each, so that it
 * can be done in slices: places are given, from the first on, after one may have opened; and everybody is checked after the
 * backends have changed. Who joins or leaves between two steps is no matter. Once a step answers `Ended`, nobody waits while
 * there is a place that it may have.
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

/** Who waits, as the policy sees it. */
export interface Waiter {
  readonly client: Client;
  /** Backends that it could not be connected to: it is given none of them. */
  readonly tried: ReadonlyArray<Backend>;
}

/** Where one that waits stands. */
class Standing<W> {
  link: Link<Standing<W>> | undefined;
  /** Among those of whom the same backend is the chosen one. */
  chosen: Chosen<W> | undefined;
  chosenLink: Link<Standing<W>> | undefined;
  constructor(readonly waiter: W) {}
}

/** Those of whom a backend, named by its incarnation, is the chosen one. */
class Chosen<W> extends Line<Standing<W>> {
  constructor(readonly incarnation: number) {
    super();
  }
}

/** What a step came to. */
export type Step<W> =
  /** One waits no longer: it has a place. */
  | { readonly _tag: "Assigned"; readonly waiter: W; readonly assignment: Pool.Assignment }
  /** One waits no longer: there is no backend that it could wait for. */
  | { readonly _tag: "Hopeless"; readonly waiter: W }
  /** One waits no longer: the algorithm threw when it was asked for this client. */
  | { readonly _tag: "Broken"; readonly waiter: W; readonly defect: unknown }
  /** One goes on waiting. */
  | { readonly _tag: "Waits" }
  /** There is nothing to be done. */
  | { readonly _tag: "Ended" };

const waits: Step<never> = { _tag: "Waits" };
const ended: Step<never> = { _tag: "Ended" };

const nothingTried: ReadonlyArray<Backend> = [];

export class ConnectionQueue<W extends Waiter> {
  readonly #line = new Line<Standing<W>>();
  readonly #standings = new Map<W, Standing<W>>();
  /** Those who wait by the backend that is their chosen one, in the order of the line. */
  readonly #chosen = new Map<number, Chosen<W>>();
  /** Who is offered a place next; undefined where those who wait can have none. */
  #offered: Link<Standing<W>> | undefined;
  /** Who is checked next, and whether everybody is being checked: the next may have joined later. */
  #checked: Link<Standing<W>> | undefined;
  #checking = false;
  /** The backends have changed since that began. */
  #changed = false;

  constructor(
    /** How many may wait. */
    readonly most: number,
  ) {}

  /** How many wait. */
  get size(): number {
    return this.#standings.size;
  }

  get isFull(): boolean {
    return this.size >= this.most;
  }

  /** Joins at the end. There has to be room. Answers the pool, of which the algorithm may remember more. */
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

  /** Waits no longer; false where it did not. */
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

  /** A place may have opened: those who wait are to be offered it, from the first on. */
  offer(): void {
    this.#offered = this.#line.first;
  }

  /** The backends have changed: everybody is to be asked whether to go on waiting, and which backend is the chosen one. */
  check(): void {
    this.offer();
    // However often they change, those who wait are offered places between two checks.
    if (this.#checking) this.#changed = true;
    else this.#beginCheck();
  }

  #beginCheck(): void {
    this.#changed = false;
    this.#checking = true;
    this.#checked = this.#line.first;
    this.#chosen.clear();
  }

  /** The next step. Everybody is checked before places are given: then it is known whose chosen one a backend is. */
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
