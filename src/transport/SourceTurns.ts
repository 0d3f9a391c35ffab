/**
 * Addresses of this host that connections are made from, in turn. No Effect: a thread that connects loads none.
 */

/** Those of one family. */
export class SourceTurns<A> {
  #next = 0;

  /** `addresses` has at least one. */
  constructor(readonly addresses: ReadonlyArray<A>) {}

  get count(): number {
    return this.addresses.length;
  }

  /** The place of the one whose turn it is. */
  take(): number {
    const place = this.#next;
    this.#next = (place + 1) % this.addresses.length;
    return place;
  }

  /** The one at a place, which may be counted beyond the last: there the first follows. */
  at(place: number): A {
    return this.addresses[place % this.addresses.length] as A; // inside the list, which has one
  }
}

/** Those of each family; undefined where there are none, and the kernel chooses. */
export interface Sources<A> {
  readonly inet: SourceTurns<A> | undefined;
  readonly inet6: SourceTurns<A> | undefined;
}

const turns = <A>(addresses: ReadonlyArray<A>): SourceTurns<A> | undefined =>
  addresses.length === 0 ? undefined : new SourceTurns(addresses);

/** Undefined where there are none at all. */
export const of = <A>(
  addresses: ReadonlyArray<A>,
  isInet6: (address: A) => boolean,
): Sources<A> | undefined =>
  addresses.length === 0
    ? undefined
    : {
        inet: turns(addresses.filter((address) => !isInet6(address))),
        inet6: turns(addresses.filter(isInet6)),
      };
