import { assert, describe, it } from "@effect/vitest";
import { Effect, type Scope, TestClock } from "effect";
import type { Backend } from "../../src/backend/Backend.js";
import * as Pool from "../../src/backend/Pool.js";
import * as TimeSlices from "../../src/clock/TimeSlices.js";
import { catalog } from "../../src/metrics/Catalog.js";
import * as MemoryTransport from "../../src/transport/MemoryTransport.js";
import { failed, succeeded } from "../support/Observations.js";
import { codes, lines, type Settings, start } from "../support/StartedBalancer.js";

/** Turns of the event loop until it is so; what never comes is cut off by the test's time limit. */
const until = (is: () => boolean): Effect.Effect<void> =>
  Effect.repeat(
    Effect.suspend(() => Effect.as(TimeSlices.turn, is())),
    { until: (now) => now },
  ).pipe(Effect.asVoid);

/** What is on its way has arrived. */
const quiet = Effect.repeatN(TimeSlices.turn, 20);

/** A second goes by, in steps in which nothing takes it for a stall. */
const seconds = (count: number) =>
  Effect.repeatN(Effect.zipRight(TestClock.adjust("100 millis"), TimeSlices.turn), 10 * count - 1);

const address = (port: number) => ({ host: "127.0.0.1", port });

/** One end of each connection that a backend has, and how many it has now. */
class Server {
  readonly peers: Array<MemoryTransport.Peer> = [];
  open = 0;
  most = 0;

  constructor(network: MemoryTransport.Network, port: number) {
    network.serve(address(port), (peer) => {
      this.peers.push(peer);
      this.open += 1;
      this.most = Math.max(this.most, this.open);
      peer.onData((bytes) => peer.write(bytes));
      peer.onEnd(() => {
        this.open -= 1;
        peer.end();
      });
    });
  }
}

/** A client, and what it has heard. */
const heardBy = (peer: MemoryTransport.Peer | undefined) => {
  const client = peer ?? assert.fail("nobody listens");
  const heard = { text: "", end: "", client };
  client.onData((bytes) => {
    heard.text += new TextDecoder().decode(bytes);
  });
  client.onEnd((end) => {
    heard.end += end;
  });
  return heard;
};

const bytes = (text: string) => new TextEncoder().encode(text);

interface World {
  readonly servers: ReadonlyArray<Server>;
  readonly network: MemoryTransport.Network;
  readonly started: Effect.Effect.Success<ReturnType<typeof start>>;
  /** A client comes; `text` is sent at once. */
  readonly come: (text: string) => Effect.Effect<ReturnType<typeof heardBy>>;
  /** How many wait. */
  readonly queued: () => number;
  readonly backend: (n: number) => Effect.Effect<Backend>;
}

const ports = [1001, 1002, 1003];

const test = (
  title: string,
  settings: Partial<Settings> & { readonly backends?: number },
  body: (world: World) => Effect.Effect<void, unknown, Scope.Scope>,
) =>
  it.scoped(title, () =>
    Effect.gen(function* () {
      const network = new MemoryTransport.Network();
      const some = ports.slice(0, settings.backends ?? 1);
      const servers = some.map((port) => new Server(network, port));
      const started = yield* Effect.orDie(
        start({
          ports: some,
          maxConnections: 1,
          transport: MemoryTransport.layer(network),
          // The clock stands still when the scope closes.
          options: { drainTimeout: 0 },
          ...settings,
        }),
      );
      let waiting = 0;
      const look = Effect.map(started.registry.queued, (now) => {
        waiting = now;
      });
      yield* body({
        servers,
        network,
        started,
        come: (text) =>
          Effect.gen(function* () {
            const heard = heardBy(network.dial(started.port));
            heard.client.write(bytes(text));
            yield* quiet;
            return heard;
          }),
        queued: () => {
          Effect.runSync(look);
          return waiting;
        },
        backend: (n) =>
          Effect.map(
            started.registry.pool,
            (pool) => Pool.backends(pool)[n] ?? assert.fail("no such backend"),
          ),
      });
    }),
  );

const refusals = ({ metrics }: World["started"]) =>
  Object.fromEntries([...metrics.refusalsByReason].filter(([, count]) => count > 0));

describe("clients that find all backends full", () => {
  test("wait, and are served in the order in which they came", {}, ({ come, queued, servers, started }) =>
    Effect.gen(function* () {
      const clients = [yield* come("0"), yield* come("1"), yield* come("2"), yield* come("3")];
      assert.deepStrictEqual(
        clients.map(({ text }) => text),
        ["0", "", "", ""],
      );
      assert.strictEqual(queued(), 3);
      for (const n of [0, 1, 2]) {
        clients[n]?.client.end();
        yield* until(() => clients[n + 1]?.text !== "");
        assert.deepStrictEqual(
          clients.map(({ text }) => text),
          [0, 1, 2, 3].map((one) => (one <= n + 1 ? String(one) : "")),
        );
      }
      assert.strictEqual(queued(), 0);
      assert.strictEqual(servers[0]?.most, 1);
      const [, second] = lines(started.log, "connection");
      assert.deepStrictEqual(refusals(started), {});
      assert.strictEqual(started.metrics.queuedTotal, 3);
      assert.isUndefined(second);
    }),
  );

  test(
    "are reset when they have waited for too long, and no sooner",
    { queueTimeout: "5 seconds" },
    ({ come, queued, started }) =>
      Effect.gen(function* () {
        const served = yield* come("0");
        const late = yield* come("1");
        yield* seconds(3);
        const later = yield* come("2");
        yield* seconds(1);
        assert.deepStrictEqual([late.end, queued()], ["", 2]);
        yield* seconds(2);
        assert.deepStrictEqual([late.end, later.end, queued()], ["reset", "", 1]);
        yield* seconds(3);
        assert.deepStrictEqual([later.end, queued(), served.end], ["reset", 0, ""]);
        assert.deepStrictEqual(codes(started.log), ["queue-timeout/queued", "queue-timeout/queued"]);
        assert.deepStrictEqual(refusals(started), { "queue-timeout": 2 });
        const waits = lines(started.log, "connection").map(({ annotations }) =>
          Number(annotations["queue_ms"]),
        );
        for (const wait of waits) assert.closeTo(wait, 5_000, 300);
        const [seen] = started.metrics.series.filter(({ name }) => name === catalog.queueSeconds.name);
        assert.deepInclude(seen?.value, { count: 2 });
      }),
  );

  test("are reset at once when as many wait as may", { queueLimit: 1 }, ({ come, started }) =>
    Effect.gen(function* () {
      yield* come("0");
      const waits = yield* come("1");
      const refused = yield* come("2");
      assert.deepStrictEqual([waits.end, refused.end], ["", "reset"]);
      assert.deepStrictEqual(codes(started.log), ["queue-full/choosing"]);
      assert.deepStrictEqual(refusals(started), { "queue-full": 1 });
    }),
  );

  test("leave no place behind when they break off", { queueLimit: 2 }, ({ come, queued, started }) =>
    Effect.gen(function* () {
      const first = yield* come("0");
      const breaks = yield* come("1");
      const waits = yield* come("2");
      breaks.client.reset();
      yield* until(() => queued() === 1);
      assert.deepStrictEqual(codes(started.log), ["client-reset/queued"]);
      const next = yield* come("3");
      assert.strictEqual(queued(), 2);
      first.client.end();
      yield* until(() => waits.text === "2");
      waits.client.end();
      yield* until(() => next.text === "3");
      next.client.end();
      yield* until(() => next.end === "fin");
      yield* quiet;
      assert.strictEqual((yield* started.registry.pool).connections, 0);
      assert.deepStrictEqual(refusals(started), {});
    }),
  );

  test("wait on when they have sent FIN, and get their answer", {}, ({ come }) =>
    Effect.gen(function* () {
      const first = yield* come("0");
      const shut = yield* come("1");
      shut.client.end();
      yield* quiet;
      assert.strictEqual(shut.end, "");
      first.client.end();
      yield* until(() => shut.end === "fin");
      assert.strictEqual(shut.text, "1");
    }),
  );

  test(
    "are reset at once when the last healthy backend goes down",
    { backends: 2 },
    ({ backend, come, started }) =>
      Effect.gen(function* () {
        yield* come("0");
        yield* come("1");
        const waiting = [yield* come("2"), yield* come("3")];
        for (const n of [0, 1]) {
          for (const by of ["probe", "probe", "probe"] as const) {
            yield* started.registry.observed(yield* backend(n), { ...failed("refused"), by });
          }
          yield* quiet;
          assert.deepStrictEqual(
            waiting.map(({ end }) => end),
            n === 0 ? ["", ""] : ["reset", "reset"],
          );
        }
        assert.deepStrictEqual(codes(started.log), ["no-backend/choosing", "no-backend/choosing"]);
        assert.deepStrictEqual(refusals(started), { "no-backend": 2 });
      }),
  );

  test(
    "are given the places of a backend that comes up, and of a limit that is raised",
    { backends: 2 },
    ({ backend, come, queued, started }) =>
      Effect.gen(function* () {
        const { registry } = started;
        for (let n = 0; n < 3; n++)
          yield* registry.observed(yield* backend(1), { ...failed("refused"), by: "probe" });
        yield* come("0");
        const waiting = [yield* come("1"), yield* come("2"), yield* come("3")];
        for (let n = 0; n < 2; n++) yield* registry.observed(yield* backend(1), succeeded);
        yield* until(() => waiting[0]?.text === "1");
        assert.strictEqual(queued(), 2);
        const instances = [1001, 1002].map((port) => ({ id: `b${port}`, address: address(port), limit: 2 }));
        yield* registry.discovered(instances);
        yield* until(() => waiting.every(({ text }) => text !== ""));
        assert.strictEqual(queued(), 0);
      }),
  );

  test(
    "stand at the end of the queue when a backend could not be connected to",
    { backends: 2, maxConnections: 1 },
    ({ come, network, queued, servers }) =>
      Effect.gen(function* () {
        yield* come("0");
        network.serve(address(1002), "refuse");
        // The second backend has a place, and refuses; the first is full.
        const failing = yield* come("1");
        assert.strictEqual(queued(), 1);
        assert.strictEqual(failing.end, "");
        servers[0]?.peers[0]?.end();
        servers[0]?.peers[0]?.reset();
        yield* until(() => failing.text === "1");
      }),
  );

  test(
    "are served while the balancer drains, and reset at its end like all others",
    { options: { drainTimeout: "10 seconds" } },
    ({ come, started }) =>
      Effect.gen(function* () {
        const first = yield* come("0");
        const second = yield* come("1");
        const third = yield* come("2");
        const drained = yield* Effect.fork(started.balancer.drain);
        yield* quiet;
        first.client.end();
        yield* until(() => second.text === "1");
        yield* Effect.repeatN(Effect.zipRight(TestClock.adjust("100 millis"), TimeSlices.turn), 45);
        assert.strictEqual(third.end, "");
        second.client.end();
        yield* until(() => third.text === "2");
        yield* seconds(10);
        assert.strictEqual(yield* drained, 1);
        assert.deepStrictEqual(codes(started.log), ["drain-timeout/draining"]);
      }),
  );

  test(
    "are never more at a backend than it may have, however many come and go",
    { backends: 3, maxConnections: 7, queueLimit: 10_000, queueTimeout: "1 hour" },
    ({ network, queued, servers, started }) =>
      Effect.gen(function* () {
        const clients = Array.from({ length: 2_000 }, () => heardBy(network.dial(started.port)));
        for (const { client } of clients) client.write(bytes("x"));
        yield* until(() => queued() === 2_000 - 21);
        // One in five breaks off, the others leave when they are answered.
        for (const [n, { client }] of clients.entries()) if (n % 5 === 4) client.reset();
        const left = new Set(clients.filter((_, n) => n % 5 !== 4));
        yield* until(() => {
          for (const heard of left) {
            if (heard.text !== "x") continue;
            heard.client.end();
            left.delete(heard);
          }
          return left.size === 0;
        });
        yield* until(() => servers.every(({ open }) => open === 0));
        yield* quiet;
        for (const { most } of servers) assert.strictEqual(most, 7);
        assert.strictEqual(queued(), 0);
        assert.strictEqual((yield* started.registry.pool).connections, 0);
        assert.deepStrictEqual(refusals(started), {});
      }),
  );
});
