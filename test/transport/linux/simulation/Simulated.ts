/**
 * Parts of the Linux transport on a simulated kernel in which nothing happens by itself.
 */
import { assert } from "@effect/vitest";
import { Acceptor } from "../../../../src/transport/linux/Acceptor.js";
import { Connecting } from "../../../../src/transport/linux/Connecting.js";
import { Engine } from "../../../../src/transport/linux/Engine.js";
import type { Service as LibcService } from "../../../../src/transport/linux/Libc.js";
import { Socket } from "../../../../src/transport/linux/Socket.js";
import type { Places } from "../../../../src/transport/Places.js";
import type { AcceptError, Connection } from "../../../../src/transport/Transport.js";
import { Kernel } from "./Kernel.js";
import { Peer } from "./Peer.js";
import { Random } from "./Random.js";
import { Stream } from "./Stream.js";

/** A kernel without troubles, and an engine on it. */
export const simulated = (
  change: (libc: LibcService) => Partial<LibcService> = () => ({}),
  {
    capacity = 1_000,
    descriptors = 1_000,
  }: { readonly capacity?: number; readonly descriptors?: number } = {},
) => {
  const random = new Random(1);
  let place = 0;
  const peer = (name: string): Peer => {
    place += 1;
    return Object.assign(new Peer(name, new Stream(place), random), { step: () => false });
  };
  const backends: Array<Peer> = [];
  const kernel = new Kernel(
    random,
    0,
    descriptors,
    () => {
      const backend = peer("backend");
      backends.push(backend);
      return backend;
    },
    false,
  );
  const engine = new Engine({ ...kernel.libc, ...change(kernel.libc) }, kernel.hostLoop, capacity, (fault) =>
    assert.fail(String(fault)),
  );

  const listen = (
    onConnection: (connection: Connection) => void,
    onAcceptError: (error: AcceptError) => void = () => {},
    onRefused?: (connection: Connection) => void,
    places?: Places,
    onFull?: () => void,
  ) => {
    const { fd, connect } = kernel.listening();
    const acceptor = new Acceptor(engine, fd, onConnection, onAcceptError, onRefused, places, onFull);
    assert.strictEqual(acceptor.start(), 0);
    return {
      acceptor,
      connect: (client = peer("client")): Peer => {
        connect(client);
        return client;
      },
    };
  };

  /** A client and a backend, connected and not relayed yet. */
  const pair = () => {
    const sockets: Array<Socket> = [];
    const keep = (made: unknown): void => {
      assert.instanceOf(made, Socket);
      sockets.push(made);
    };
    const client = peer("client");
    const { acceptor, connect } = listen(keep);
    connect(client);
    kernel.turn();
    acceptor.close();
    new Connecting(engine, { host: "127.0.0.1", port: 2 }, keep).start(
      { family: 2, address: engine.address, length: 16 },
      1_000,
    );
    while (sockets.length < 2) {
      kernel.settle();
      kernel.turn();
    }
    const [from, to] = sockets as [Socket, Socket]; // as many as there were to be
    const backend = backends.at(-1) as Peer; // it was connected to
    kernel.pair(client, backend);
    return { client, backend, from, to };
  };

  return { engine, kernel, listen, pair };
};
