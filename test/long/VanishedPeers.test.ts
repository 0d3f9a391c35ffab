/**
 * `npm run test:long`: peers that vanish without a word, over links of network namespaces: which of them are given up,
 * and that no other is cut. What the kernel and the transport wait for takes minutes, so all of it happens side by side,
 * once, in eleven minutes; the tests then look at what came of it.
 */
import { once } from "node:events";
import * as net from "node:net";
import { Effect, type Scope } from "effect";
import { afterAll, assert, beforeAll, describe, it } from "vitest";
import * as Namespace from "../support/Namespace.js";
import * as Program from "../support/RunningProgram.js";
import { sendBulk } from "../support/Sockets.js";

/** `node` is left out: it cannot ask the kernel what became of a peer. */
const transports = ["linux", "io_uring"] as const;
type Transport = (typeof transports)[number];

/** More than all buffers between a sender and a reader hold. */
const bulkBytes = 48 * 1024 * 1024;

type End = "open" | "fin" | "reset";

/** A connection as one of its ends sees it. */
interface Seen {
  readonly socket: net.Socket;
  end: End;
  arrived: number;
}

const watch = (socket: net.Socket): Seen => {
  const seen: Seen = { socket, end: "open", arrived: 0 };
  socket.on("error", () => {
    seen.end = "reset";
  });
  socket.on("end", () => {
    if (seen.end === "open") seen.end = "fin";
  });
  return seen;
};

const reading = (seen: Seen): Seen => {
  seen.socket.on("data", (chunk) => {
    seen.arrived += chunk.length;
  });
  return seen;
};

/** A server on this address, and the connections on which something was said: health checks say nothing. */
const serve = (host: string, handle: (socket: net.Socket) => void) =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const served: Array<Seen> = [];
      const server = net.createServer({ allowHalfOpen: true }, (socket) => {
        const seen = watch(socket);
        socket.once("data", () => {
          served.push(seen);
          handle(socket);
        });
      });
      server.listen(0, host);
      await once(server, "listening");
      return { server, served, address: `${host}:${(server.address() as net.AddressInfo).port}` };
    }),
    ({ server, served }) =>
      Effect.sync(() => {
        server.close();
        for (const { socket } of served) socket.destroy();
      }),
  );

const dial = (host: string, port: number) =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const socket = net.connect({ host, port, allowHalfOpen: true });
      const seen = watch(socket);
      await once(socket, "connect");
      socket.write("x");
      return seen;
    }),
    ({ socket }) => Effect.sync(() => socket.destroy()),
  );

const echo = (socket: net.Socket): void => {
  socket.write("x");
  socket.pipe(socket);
};

/** What was seen of one transport. */
interface Observed {
  /** A client, whose backend vanished with data in flight to it. */
  readonly inFlight: { readonly after100s: End; readonly after300s: End };
  /** A client that reads nothing for ten minutes, and then all. */
  readonly shut: {
    readonly before: number;
    readonly blocked: boolean;
    readonly end: End;
    readonly arrived: number;
  };
  /** A backend, whose client read nothing for three minutes and then vanished. */
  readonly shutAndVanished: { readonly blocked: boolean; readonly before: End; readonly after300s: End };
  /** A client, whose backend was away for a minute with data in flight to it. */
  readonly back: { readonly whileAway: number; readonly end: End; readonly arrived: number };
}

const prefix = `lb-long-${process.pid}`;
const hub = `${prefix}-hub`;

/**
 * A host behind a link: `10.77.N.2`, seen from `10.77.N.1`. One that has lost its address answers nothing; that its
 * neighbour still knows where to send to is how it is behind a router.
 */
const host = (n: number) =>
  Effect.gen(function* () {
    const name = `${prefix}-${n}`;
    const address = `10.77.${n}.2`;
    const [here, there] = [`02:00:00:00:${n}:01`, `02:00:00:00:${n}:02`];
    yield* Namespace.named(name);
    yield* Namespace.run(
      `ip link add link${n} netns ${hub} address ${here} type veth peer name far netns ${name} address ${there}`,
    );
    const owns = (verb: "add" | "delete") =>
      Namespace.run(`ip -n ${name} address ${verb} ${address}/24 dev far`);
    yield* Namespace.run(`ip -n ${hub} address add 10.77.${n}.1/24 dev link${n}`);
    yield* Namespace.run(`ip -n ${hub} link set link${n} up`);
    yield* Namespace.run(`ip -n ${name} link set far up`);
    yield* owns("add");
    yield* Namespace.run(
      `ip -n ${hub} neighbour replace ${address} lladdr ${there} dev link${n} nud permanent`,
    );
    return { name, address, vanish: owns("delete"), comeBack: owns("add") };
  });

/** Begins what is to be seen on one transport, in the namespace of the hub; answers what to do at which time. */
const begin = (transport: Transport, place: number) =>
  Effect.gen(function* () {
    const hosts = yield* Effect.all([host(place), host(place + 1), host(place + 2), host(place + 3)]);
    const [gone, reader, goneReader, away] = hosts;
    const program = (backend: string) =>
      Effect.tap(
        Program.start(transport, {
          BACKENDS: backend,
          BIND_ADDRESS: "0.0.0.0",
          HEALTH_CHECK_INTERVAL: "5s",
        }),
        ({ healthy }) => healthy(1),
      );

    const ofGone = yield* Namespace.inside(gone.name, serve(gone.address, echo));
    const ofAway = yield* Namespace.inside(away.name, serve(away.address, echo));
    const bulk = yield* serve("127.0.0.1", (socket) => sendBulk(socket, bulkBytes));
    const toGone = yield* program(ofGone.address);
    const toAway = yield* program(ofAway.address);
    const toBulk = yield* program(bulk.address);

    const inFlight = reading(yield* dial("127.0.0.1", toGone.port));
    const back = reading(yield* dial("127.0.0.1", toAway.port));
    yield* Program.untilTrue(Effect.sync(() => inFlight.arrived === 1 && back.arrived === 1));
    const blocked = (): boolean => bulk.served.every(({ socket }) => socket.writableLength > 0);
    const shut = yield* Namespace.inside(reader.name, dial(`10.77.${place + 1}.1`, toBulk.port));
    yield* Program.untilTrue(Effect.sync(() => bulk.served.length === 1 && blocked()));
    yield* Namespace.inside(goneReader.name, dial(`10.77.${place + 2}.1`, toBulk.port));
    yield* Program.untilTrue(Effect.sync(() => bulk.served.length === 2 && blocked()));
    const [, sender] = bulk.served;
    if (sender === undefined) throw new Error("there are two");

    const at = (seconds: number, look: Effect.Effect<void>) => Effect.delay(look, `${seconds} seconds`);
    const observed: { -readonly [Part in keyof Observed]?: Observed[Part] } = {};
    const happens = Effect.all(
      [
        Effect.gen(function* () {
          yield* gone.vanish;
          inFlight.socket.write("hello");
          yield* Effect.sleep("100 seconds");
          const after100s = inFlight.end;
          yield* Effect.sleep("200 seconds");
          observed.inFlight = { after100s, after300s: inFlight.end };
        }),
        Effect.gen(function* () {
          yield* away.vanish;
          back.socket.write("hello");
          yield* Effect.sleep("60 seconds");
          const whileAway = back.arrived;
          yield* away.comeBack;
          yield* Effect.sleep("540 seconds");
          back.socket.end("bye");
          yield* Program.untilTrue(Effect.sync(() => back.end !== "open"));
          observed.back = { whileAway, end: back.end, arrived: back.arrived };
        }),
        at(
          600,
          Effect.gen(function* () {
            const before = shut.socket.bytesRead;
            const stillBlocked = (bulk.served[0]?.socket.writableLength ?? 0) > 0;
            reading(shut);
            yield* Program.untilTrue(Effect.sync(() => shut.end !== "open"));
            observed.shut = { before, blocked: stillBlocked, end: shut.end, arrived: shut.arrived };
          }),
        ),
        at(
          180,
          Effect.gen(function* () {
            const stillBlocked = sender.socket.writableLength > 0;
            const before = sender.end;
            yield* goneReader.vanish;
            yield* Effect.sleep("300 seconds");
            observed.shutAndVanished = { blocked: stillBlocked, before, after300s: sender.end };
          }),
        ),
      ],
      { concurrency: "unbounded", discard: true },
    );
    return Effect.map(happens, () => observed as Observed /* each part was seen */);
  });

const observe: Effect.Effect<Readonly<Record<Transport, Observed>>, never, Scope.Scope> = Effect.gen(
  function* () {
    yield* Namespace.named(hub);
    yield* Namespace.run(`ip -n ${hub} link set lo up`);
    return yield* Namespace.inside(
      hub,
      Effect.gen(function* () {
        // One after another: all sockets are opened by this thread, in the namespace that it is in.
        const linux = yield* begin("linux", 1);
        const ioUring = yield* begin("io_uring", 5);
        const [ofLinux, ofIoUring] = yield* Effect.all([linux, ioUring], { concurrency: "unbounded" });
        return { linux: ofLinux, io_uring: ofIoUring };
      }),
    );
  },
);

const why = Namespace.unnamed;

describe.skipIf(why !== undefined)(
  why === undefined ? "a peer that vanishes" : `a peer that vanishes (left out: ${why})`,
  () => {
    let seen: Readonly<Record<Transport, Observed>> | undefined;
    const of = (transport: Transport): Observed => {
      if (seen === undefined) throw new Error("nothing was seen");
      return seen[transport];
    };
    beforeAll(async () => {
      seen = await Effect.runPromise(Effect.scoped(observe));
    });
    afterAll(() => {
      seen = undefined;
    });

    for (const transport of transports) {
      it(`with data in flight to it is given up within five minutes, on ${transport}`, () => {
        assert.deepStrictEqual(of(transport).inFlight, { after100s: "open", after300s: "reset" });
      });

      it(`after its window was shut for three minutes is given up within five, on ${transport}`, () => {
        assert.deepStrictEqual(of(transport).shutAndVanished, {
          blocked: true,
          before: "open",
          after300s: "reset",
        });
      });

      it(`and comes back after a minute is not cut, and nothing is lost, on ${transport}`, () => {
        assert.deepStrictEqual(of(transport).back, {
          whileAway: 1,
          end: "fin",
          arrived: "x".length + "hello".length + "bye".length,
        });
      });

      it(`is not who keeps its window shut for ten minutes: it gets all of it then, on ${transport}`, () => {
        const { arrived, before, blocked, end } = of(transport).shut;
        assert.isBelow(before, bulkBytes);
        assert.deepStrictEqual({ arrived, blocked, end }, { arrived: bulkBytes, blocked: true, end: "fin" });
      });
    }
  },
);
