/**
 * A transport without sockets, for tests of what stands above it: they say who connects and how relaying ends.
 */
import { Deferred, Effect, Layer } from "effect";
import {
  type Connection,
  type ListenOptions,
  type RelayEnd,
  type RelayOutcome,
  Transport,
} from "../../src/transport/Transport.js";

export type Forward = (typeof Transport.Service)["forward"];

export interface ScriptedTransport {
  readonly layer: Layer.Layer<Transport>;
  /** What the listener asked for, once there is one. */
  readonly listening: Effect.Effect<ListenOptions>;
  /** Each of them connects to the listener. */
  readonly accept: (...clients: ReadonlyArray<Connection>) => Effect.Effect<void>;
  /** Whether the listener was closed. */
  readonly closed: () => boolean;
}

export const make = (forward: Forward): Effect.Effect<ScriptedTransport> =>
  Effect.gen(function* () {
    const listening = yield* Deferred.make<ListenOptions>();
    let closed = false;
    const close = Effect.sync(() => {
      closed = true;
    });
    return {
      layer: Layer.mock(Transport, {
        name: "scripted",
        faults: () => 0,
        watch: () => () => {},
        listen: (options) =>
          Effect.acquireRelease(
            Effect.as(Deferred.succeed(listening, options), {
              address: { host: options.host ?? "::", port: options.port },
              close,
            }),
            () => close,
          ),
        forward,
        bringUpToDate: () => {},
        unacknowledged: () => 0,
      }),
      listening: Deferred.await(listening),
      accept: (...clients) =>
        Effect.map(Deferred.await(listening), ({ onConnection }) => clients.forEach(onConnection)),
      closed: () => closed,
    };
  });

/** A client; `reset` is called whenever it is reset. */
export const client = (port: number, reset: () => void = () => {}): Connection => ({
  remote: { host: "10.0.0.1", port },
  close: () => {},
  reset,
});

/** A relay that ends in order in the next turn of the event loop, and carries three bytes there and five back. */
export const relayOnce: Forward = (_client, _target, { connected }, counts) =>
  Effect.interruptible(
    Effect.async((resume) => {
      connected?.();
      counts.received += 3;
      counts.sent += 5;
      setImmediate(() => resume(Effect.succeed({ end: "client-closed", received: 3, sent: 5 })));
    }),
  );

/** Relays that go on until a test ends them, or they are interrupted. */
export const relays = () => {
  const open = new Map<number, (outcome: Effect.Effect<RelayOutcome>) => void>();
  const forward: Forward = ({ remote }, _target, { connected }, counts) =>
    Effect.interruptible(
      Effect.async((resume) => {
        connected?.();
        counts.received += 3;
        counts.sent += 5;
        open.set(remote.port, resume);
        return Effect.sync(() => open.delete(remote.port));
      }),
    );
  return {
    forward,
    /** How many there are now. */
    open: (): number => open.size,
    /** Ends the relay of the client with this port. */
    end: (port: number, end: RelayEnd = "client-closed"): void => {
      open.get(port)?.(Effect.succeed({ end, received: 3, sent: 5 }));
      open.delete(port);
    },
  };
};
