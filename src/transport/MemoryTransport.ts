/**
 * A transport without a network, for tests of programs that use the library: backends are functions, and clients are
 * made by {@link Network.dial}.
 *
 * @example
 * ```ts
 * import { Layer } from "effect"
 * import { BackendRegistry, LoadBalancer, MemoryTransport } from "zeitwork-load-balancer"
 *
 * const network = new MemoryTransport.Network()
 * network.serve({ host: "10.0.0.1", port: 80 }, (peer) => peer.onData((bytes) => peer.write(bytes)))
 *
 * const balancer = LoadBalancer.layer({ port: 8082 }).pipe(
 *   Layer.provideMerge(BackendRegistry.layer({})),
 *   Layer.provide(MemoryTransport.layer(network)),
 * )
 *
 * // Once the balancer listens:
 * const client = network.dial(8082)
 * client?.write(new TextEncoder().encode("hello"))
 * ```
 *
 * It keeps half-close, resets, order and counts as the others do. What it leaves out: a slow reader does not slow its
 * sender, the whole of what was written is held until it is read, and a listener takes no notice of `maxConnections`.
 */
import { type Context, Effect, FiberId, Layer, Runtime, type Scope } from "effect";
import type { ByteCounts } from "../net/ByteCounts.js";
import { ListenError } from "../net/ListenError.js";
import { format, isIpAddress, type SocketAddress } from "../net/SocketAddress.js";
import { ConnectError } from "./ConnectError.js";
import {
  type Connection,
  type ListenOptions,
  type Mechanism,
  make as makeTransport,
  type RelayEnd,
  type RelayOutcome,
  Transport,
} from "./Transport.js";

/**
 * How the other side of a peer has ended.
 *
 * @since 0.2.0
 * @category models
 */
export type PeerEnd = "fin" | "reset";

/**
 * One end of a connection in memory.
 *
 * @since 0.2.0
 * @category models
 */
export interface Peer {
  /** The address of the other end. */
  readonly remote: SocketAddress;
  /** Sends bytes; false where this side has ended. */
  readonly write: (bytes: Uint8Array) => boolean;
  /** Sends FIN: the other direction goes on. */
  readonly end: () => void;
  readonly reset: () => void;
  /** Sets the receiver of bytes; bytes that have arrived before are passed on at once. */
  readonly onData: (receive: (bytes: Uint8Array) => void) => void;
  /** Sets the callback for a FIN, after all bytes before it, or for a reset. */
  readonly onEnd: (ended: (end: PeerEnd) => void) => void;
}

class End implements Peer, Connection {
  other: End | undefined;
  #queue: Array<Uint8Array> = [];
  #receive: ((bytes: Uint8Array) => void) | undefined;
  #ended: ((end: PeerEnd) => void) | undefined;
  /** How the other side has ended, until that was reported. */
  #pending: PeerEnd | undefined;
  #shut = false;
  #otherShut = false;
  /** It was reset, by either side. */
  #dead = false;

  constructor(
    readonly remote: SocketAddress,
    readonly local: SocketAddress,
  ) {}

  readonly write = (bytes: Uint8Array): boolean => {
    if (this.#shut || this.#dead) return false;
    this.other?.arrive(bytes.slice());
    return true;
  };

  readonly end = (): void => {
    if (this.#shut || this.#dead) return;
    this.#shut = true;
    this.other?.ended("fin");
  };

  readonly close = this.end;

  readonly reset = (): void => {
    // Once both have sent FIN there is no connection any more.
    if (this.#dead || (this.#shut && this.#otherShut)) return;
    this.#dead = true;
    this.other?.ended("reset");
  };

  readonly onData = (receive: (bytes: Uint8Array) => void): void => {
    this.#receive = receive;
    for (const bytes of this.#queue.splice(0)) receive(bytes);
    this.#deliverEnd();
  };

  readonly onEnd = (ended: (end: PeerEnd) => void): void => {
    this.#ended = ended;
    this.#deliverEnd();
  };

  /** Removes the receiver; these bytes, which it had received, will be received first again. */
  hold(bytes: Uint8Array): void {
    this.#receive = undefined;
    this.#ended = undefined;
    if (bytes.length > 0) this.#queue.unshift(bytes);
  }

  arrive(bytes: Uint8Array): void {
    if (this.#dead) return;
    if (this.#receive === undefined) this.#queue.push(bytes);
    else this.#receive(bytes);
  }

  ended(end: PeerEnd): void {
    if (this.#dead) return;
    if (end === "reset") this.#dead = true;
    else this.#otherShut = true;
    this.#pending = end;
    this.#deliverEnd();
  }

  #deliverEnd(): void {
    const end = this.#pending;
    // A FIN comes after all bytes before it; a reset at once.
    if (end === undefined || this.#ended === undefined || (end === "fin" && this.#queue.length > 0)) return;
    this.#pending = undefined;
    this.#ended(end);
  }
}

const pair = (client: SocketAddress, server: SocketAddress): readonly [End, End] => {
  const near = new End(server, client);
  const far = new End(client, server);
  near.other = far;
  far.other = near;
  return [near, far];
};

/**
 * What happens to a connect to a target.
 *
 * @since 0.2.0
 * @category models
 */
export type Behaviour = ((peer: Peer) => void) | "refuse" | "silence";

/**
 * Listeners by address, in memory.
 *
 * @since 0.2.0
 * @category models
 */
export class Network {
  /** What the transport listens on, by port. */
  readonly #listeners = new Map<number, (connection: Connection) => void>();
  readonly #targets = new Map<string, Behaviour>();
  #port = 40_000;

  /** Sets what happens to a connect to the address. A connect to any other is refused. */
  serve(address: SocketAddress, behaviour: Behaviour): void {
    this.#targets.set(format(address), behaviour);
  }

  /** A client of what the transport listens on at the port; undefined where it does not. */
  dial(port: number): Peer | undefined {
    const accept = this.#listeners.get(port);
    if (accept === undefined) return undefined;
    const [client, accepted] = pair(
      { host: "127.0.0.1", port: this.nextPort() },
      { host: "127.0.0.1", port },
    );
    accept(accepted);
    return client;
  }

  /** A port that was never used. */
  nextPort(): number {
    this.#port += 1;
    return this.#port;
  }

  /** What happens to a connect to an address. */
  behaviourOf(address: SocketAddress): Behaviour {
    return this.#targets.get(format(address)) ?? "refuse";
  }

  /** Hands over clients of the port until the returned function is called; undefined if the port is in use. */
  listen(port: number, accept: (connection: Connection) => void): (() => void) | undefined {
    if (this.#listeners.has(port)) return undefined;
    this.#listeners.set(port, accept);
    return () => void this.#listeners.delete(port);
  }
}

/** Moves bytes between two ends. */
class MemoryRelay {
  readonly #finished = new Set<End>();
  readonly #counts = { received: 0, sent: 0 };
  #first: RelayEnd | undefined;
  #over = false;

  constructor(
    readonly client: End,
    readonly backend: End,
    readonly counts: ByteCounts,
    readonly onEnd: (outcome: RelayOutcome) => void,
  ) {}

  start(): void {
    this.#move(this.client, this.backend, "received", "client-closed", "client-reset");
    this.#move(this.backend, this.client, "sent", "backend-closed", "backend-reset");
  }

  #move(from: End, to: End, counter: "received" | "sent", closed: RelayEnd, broken: RelayEnd): void {
    from.onData((bytes) => {
      this.counts[counter] += bytes.length;
      this.#counts[counter] += bytes.length;
      to.write(bytes);
    });
    from.onEnd((end) => {
      if (this.#over) return;
      if (end === "reset") {
        to.reset();
        this.#end(broken);
        return;
      }
      this.#first ??= closed;
      this.#finished.add(from);
      this.counts.halfClosed = true;
      to.end();
      if (this.#finished.size === 2) this.#end(this.#first);
    });
  }

  #end(end: RelayEnd): void {
    this.#over = true;
    this.onEnd({ end, ...this.#counts });
  }

  /** Resets both sides. */
  abort(): void {
    this.#over = true;
    this.client.reset();
    this.backend.reset();
  }
}

const endOf = (connection: Connection): End => {
  if (connection instanceof End) return connection;
  throw new TypeError("a connection of another transport was given to the memory transport");
};

const nothing = new Uint8Array();

const joined = (one: Uint8Array, other: Uint8Array): Uint8Array => {
  const both = new Uint8Array(one.length + other.length);
  both.set(one);
  both.set(other, one.length);
  return both;
};

/** Runs the task after what runs now; returns a function that cancels it. */
const soon = (task: () => void): (() => void) => {
  let due = true;
  queueMicrotask(() => {
    if (due) task();
  });
  return () => {
    due = false;
  };
};

const make = (network: Network): Effect.Effect<Context.Tag.Service<typeof Transport>, never, Scope.Scope> =>
  Effect.gen(function* () {
    const scope = yield* Effect.scope;
    const fork = Runtime.runFork(yield* Effect.runtime());
    const afterMillis = (millis: number, task: () => void): (() => void) => {
      const fiber = fork(Effect.zipRight(Effect.sleep(millis), Effect.sync(task)), { scope });
      return () => fiber.unsafeInterruptAsFork(FiberId.none);
    };

    const listen = ({ host, port, onConnection }: ListenOptions) =>
      Effect.gen(function* () {
        const address = { host: host ?? "::", port: port === 0 ? network.nextPort() : port };
        const stop = network.listen(address.port, onConnection);
        if (stop === undefined)
          return yield* new ListenError({ reason: "in-use", address, code: "EADDRINUSE" });
        const close = Effect.sync(stop);
        yield* Effect.addFinalizer(() => close);
        return { address, close };
      });

    const connect: Mechanism["connect"] = (target, { preface, timeoutMillis }, made, failed) => {
      const fail = (reason: ConnectError["reason"]) =>
        failed(new ConnectError({ reason, address: target, code: undefined }));
      const valid = isIpAddress(target.host) && target.port >= 1 && target.port <= 65_535;
      const behaviour = valid ? network.behaviourOf(target) : undefined;
      if (behaviour === undefined) return soon(() => fail("invalid-address"));
      if (behaviour === "silence") return afterMillis(timeoutMillis, () => fail("timeout"));
      if (behaviour === "refuse") return soon(() => fail("refused"));
      return soon(() => {
        const [near, far] = pair({ host: "127.0.0.1", port: network.nextPort() }, target);
        behaviour(far);
        if (preface !== undefined) near.write(preface);
        made(near);
      });
    };

    return makeTransport({
      name: "memory",
      faults: () => 0,
      listen,
      probe: (target, options, answered, failed) => {
        const behaviour = network.behaviourOf(target);
        return typeof behaviour === "function" ? soon(answered) : connect(target, options, () => {}, failed);
      },
      connect,
      head: (client, { lengthOf, most, timeoutMillis }, read, failed) => {
        const end = endOf(client);
        let bytes: Uint8Array = new Uint8Array();
        let over = false;
        let stop = (): void => {};
        const settle = (rest: Uint8Array, tell: () => void): void => {
          if (over) return;
          over = true;
          stop();
          end.hold(rest);
          tell();
        };
        const cancel = soon(() => {
          stop = afterMillis(timeoutMillis, () => settle(bytes, () => failed("timeout")));
          end.onData((more) => {
            // All that had come before comes at once, also behind the head.
            if (over) {
              end.arrive(more);
              return;
            }
            bytes = joined(bytes, more);
            const so = bytes.subarray(0, most);
            const length = lengthOf(so);
            if (length < 0 || length > most) settle(bytes, () => read(so.slice()));
            else if (length > 0 && length <= so.length) {
              settle(bytes.subarray(length), () => read(so.slice(0, length)));
            }
          });
          if (!over) {
            end.onEnd((how) => {
              settle(bytes, () => failed(how === "fin" ? "closed" : "reset"));
              end.ended(how);
            });
          }
        });
        return () => {
          cancel();
          settle(bytes, () => {});
        };
      },
      watch: (client, broken) => {
        const end = endOf(client);
        /** A FIN that was heard of, and is still to be told to whoever has it next. */
        let shut = false;
        let over = false;
        const cancel = soon(() =>
          end.onEnd((how) => {
            if (how === "fin") shut = true;
            else if (!over) {
              over = true;
              broken();
            }
          }),
        );
        return () => {
          cancel();
          over = true;
          end.hold(nothing);
          if (shut) end.ended("fin");
          shut = false;
        };
      },
      relay: (client, backend, counts, ended) => {
        const relay = new MemoryRelay(endOf(client), endOf(backend), counts, ended);
        relay.start();
        return () => relay.abort();
      },
    });
  });

/**
 * The transport of a network in memory.
 *
 * @since 0.2.0
 * @category layers
 */
export const layer = (network: Network): Layer.Layer<Transport> => Layer.scoped(Transport, make(network));
