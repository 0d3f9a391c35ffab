/**
 * Limits of connections as a user of the built program meets them: who is allowed, how many at a time, and for how long.
 */
import { connect, type Socket } from "node:net";
import { assert, describe, it } from "@effect/vitest";
import { Effect } from "effect";
import { ask, listOf, named, restartable, talk } from "../support/Backends.js";
import * as Program from "../support/RunningProgram.js";
import * as Operator from "../support/ScriptedOperator.js";
import { eventually, type Received, receive, serve } from "../support/Sockets.js";

/** A client that is connected and says hello, and what it receives to its end. It stays for the scope. */
const come = (port: number, localAddress = "127.0.0.1") =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const socket = connect({ host: "127.0.0.1", port, localAddress, allowHalfOpen: true });
      const received = receive(socket);
      socket.on("error", () => {});
      // A reset may have come before it is told that it is connected.
      await new Promise((resolve) => socket.once("connect", resolve).once("close", resolve));
      socket.write("hello");
      return { socket, received };
    }),
    ({ socket }) => Effect.sync(() => socket.destroy()),
  );

const endOf = ({ received }: { readonly received: Promise<Received> }) => Effect.promise(() => received);

const answered = ({ socket }: { readonly socket: Socket }) =>
  Program.untilTrue(Effect.sync(() => socket.bytesRead > 0));

/** Whether a client that comes now gets an answer, and no reset. */
const isServed = (port: number, localAddress: string) =>
  Effect.scoped(
    Effect.flatMap(come(port, localAddress), ({ socket }) =>
      Effect.promise(async () => {
        while (socket.bytesRead === 0 && !socket.closed)
          await new Promise((resolve) => socket.once("data", resolve).once("close", resolve));
        return socket.bytesRead > 0;
      }),
    ),
  );

/** How many connections were refused for this reason. */
const refused = ({ healthPort }: Program.Program, reason: string) =>
  Effect.promise(async () => {
    const text = await (await fetch(`http://127.0.0.1:${healthPort}/metrics`)).text();
    return Number(
      new RegExp(`^lb_connections_refused_total\\{reason="${reason}"\\} (\\d+)$`, "m").exec(text)?.[1] ?? 0,
    );
  });

describe.each(Program.transportsAndThreads)("limits on %s", (_name, transport, threads) => {
  it.scopedLive("ALLOW_CLIENTS serves who is on the list, and resets all others", () =>
    Effect.gen(function* () {
      const program = yield* Program.start(transport, {
        ...threads,
        BACKENDS: listOf(yield* named("a")),
        ALLOW_CLIENTS: "127.0.0.4/30,2001:db8::1",
      });
      yield* program.healthy(1);
      assert.strictEqual(yield* ask(program.port, "127.0.0.6"), "a");
      for (const client of ["127.0.0.1", "127.0.0.8"]) {
        const { bytes, end } = yield* endOf(yield* come(program.port, client));
        assert.deepStrictEqual([bytes.length, end], [0, "reset"], client);
      }
      assert.strictEqual(yield* ask(program.port, "127.0.0.4"), "a");
      assert.strictEqual(yield* refused(program, "denied"), 2);
    }),
  );

  it.scopedLive("MAX_CONNECTIONS has clients wait until one has left, and resets one when none leaves", () =>
    Effect.gen(function* () {
      const backend = yield* named("a");
      const program = yield* Program.start(transport, {
        ...threads,
        BACKENDS: listOf(backend),
        MAX_CONNECTIONS: "2",
      });
      yield* program.healthy(1);
      const first = yield* come(program.port);
      yield* answered(first);
      yield* answered(yield* come(program.port));
      const third = yield* come(program.port);
      yield* program.awaitLogged("clients wait: there are as many connections as there may be");
      assert.strictEqual(backend.clients.size, 2);
      assert.strictEqual(third.socket.bytesRead, 0);
      first.socket.end();
      yield* answered(third);

      const fourth = yield* come(program.port);
      const { bytes, end } = yield* endOf(fourth);
      assert.deepStrictEqual([bytes.length, end], [0, "reset"]);
      assert.strictEqual(yield* refused(program, "at-capacity"), 1);
      assert.strictEqual(backend.clients.size, 2, "the others go on");
    }),
  );

  it.scopedLive(
    "MAX_CONNECTIONS_PER_CLIENT holds under 5,000 connects at once, and lets clients in again",
    () =>
      Effect.gen(function* () {
        const backend = yield* named("a");
        const program = yield* Program.start(transport, {
          ...threads,
          BACKENDS: listOf(backend),
          MAX_CONNECTIONS_PER_CLIENT: "100",
        });
        yield* program.healthy(1);
        const clients = ["127.0.0.1", "127.0.0.2"] as const;
        const crowd = yield* Effect.acquireRelease(
          Effect.sync(() =>
            Array.from({ length: 5_000 }, (_, n) => {
              const client = clients[n % 2 === 0 ? 0 : 1];
              const socket = connect({ host: "127.0.0.1", port: program.port, localAddress: client });
              const one = { client, socket, fate: "" };
              socket.once("data", () => {
                one.fate = "served";
              });
              socket.once("error", () => {
                one.fate ||= "reset";
              });
              socket.write("hello");
              return one;
            }),
          ),
          (all) => Effect.sync(() => all.forEach(({ socket }) => void socket.destroy())),
        );
        yield* eventually(() => crowd.every(({ fate }) => fate !== ""));
        for (const client of clients) {
          const served = crowd.filter((one) => one.client === client && one.fate === "served");
          assert.lengthOf(served, 100, client);
        }
        assert.strictEqual(backend.clients.size, 200);
        assert.strictEqual(yield* refused(program, "client-limit"), 4_800);
        for (const { socket } of crowd) socket.destroy();
        for (const client of clients) yield* Program.untilTrue(isServed(program.port, client));
      }),
  );

  it.scopedLive("IDLE_TIMEOUT resets a connection that is silent, and none that talks", () =>
    Effect.gen(function* () {
      const program = yield* Program.start(transport, {
        ...threads,
        BACKENDS: listOf(yield* named("a")),
        IDLE_TIMEOUT: "1500ms",
      });
      yield* program.healthy(1);
      const talker = yield* talk(program.port);
      const silent = yield* come(program.port);
      yield* answered(silent);
      let over = false;
      silent.socket.once("close", () => {
        over = true;
      });
      while (!over) assert.strictEqual(yield* talker.says("word"), "word");
      assert.strictEqual((yield* endOf(silent)).end, "reset");
      yield* program.awaitLogged("connection", { code: "idle-timeout/relaying" });
      assert.strictEqual(yield* talker.says("still"), "still");
      assert.strictEqual(program.logged("connection").length, 1);
    }),
  );

  it.scopedLive("HALF_CLOSED_TIMEOUT resets a connection of which one side has ended, and no other", () =>
    Effect.gen(function* () {
      // It neither reads to the end nor ends.
      const backend = yield* serve((socket) => socket.once("data", () => socket.write("x")));
      const program = yield* Program.start(transport, {
        ...threads,
        BACKENDS: `127.0.0.1:${backend.port}`,
        HALF_CLOSED_TIMEOUT: "1s",
      });
      yield* program.healthy(1);
      const whole = yield* come(program.port);
      const half = yield* come(program.port);
      yield* answered(whole);
      yield* answered(half);
      half.socket.end();
      const { bytes, end } = yield* endOf(half);
      assert.deepStrictEqual([bytes.toString(), end], ["x", "reset"]);
      yield* program.awaitLogged("connection", { code: "half-closed-timeout/relaying" });
      assert.strictEqual(program.logged("connection").length, 1);
      assert.isFalse(whole.socket.destroyed);
    }),
  );

  it.scopedLive("MAX_CONNECTION_AGE resets a connection however busy it is", () =>
    Effect.gen(function* () {
      const program = yield* Program.start(transport, {
        ...threads,
        BACKENDS: listOf(yield* named("a")),
        MAX_CONNECTION_AGE: "1s",
      });
      yield* program.healthy(1);
      const busy = yield* come(program.port);
      busy.socket.on("data", () => busy.socket.write("more"));
      assert.strictEqual((yield* endOf(busy)).end, "reset");
      yield* program.awaitLogged("connection", { code: "max-age/relaying" });
      assert.strictEqual(yield* ask(program.port), "a", "it may come again");
    }),
  );

  it.scopedLive(
    "ON_BACKEND_DOWN=reset resets the connections of a backend that goes down, and no others",
    () =>
      Effect.gen(function* () {
        const backend = yield* restartable("a");
        const program = yield* Program.start(transport, {
          ...threads,
          BACKENDS: listOf(backend, yield* named("b")),
          HEALTH_CHECK_FALL: "1",
          ON_BACKEND_DOWN: "reset",
        });
        yield* program.healthy(2);
        const clients = [yield* come(program.port), yield* come(program.port)];
        for (const client of clients) yield* answered(client);
        yield* backend.deafen;
        const { bytes, end } = yield* Effect.raceAll(clients.map(endOf));
        assert.deepStrictEqual([bytes.toString(), end], ["a\n", "reset"]);
        yield* program.awaitLogged("connection", { code: "backend-down/relaying" });
        assert.strictEqual(program.logged("connection").length, 1);
      }),
  );
});

describe("an Operator's wrong value", () => {
  it.scopedLive("counts as absent, and is said once", () =>
    Effect.gen(function* () {
      const backend = yield* named("a");
      const operator = yield* Operator.make(
        Operator.lists([{ ...Operator.instance("a", backend.port), weight: "3", max_connections: 7 }]),
      );
      const program = yield* Program.start("node", { OPERATOR_URL: operator.url });
      yield* program.healthy(1);
      yield* operator.askedAgain(3);
      const { body } = yield* program.get("/status");
      assert.deepInclude(
        (body as { readonly backends: ReadonlyArray<object> }) /* its contract */.backends[0],
        { id: "a", weight: 1, max_connections: 7 },
      );
      const lines = program.logged("value of an instance ignored");
      assert.strictEqual(lines.length, 1);
      assert.strictEqual(lines[0]?.annotations["instance"], "a");
      assert.include(String(lines[0]?.annotations["why"]), "weight is not a whole number from 0 to 256");
    }),
  );
});
