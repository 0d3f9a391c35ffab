/**
 * `load-balancer demo`: an Operator, three backends and the load balancer in front of them, all in one process, and one
 * backend that dies and returns again and again.
 *
 * Settings are read from the environment as the real program reads them; the demo has other defaults, so that
 * things happen within seconds and on 127.0.0.1 only. Where the backends come from is not for the environment to
 * say here. PAUSE (`5 seconds`) is the demo's own: how long it waits before the next thing happens.
 */
import { get } from "node:http";
import * as FetchHttpClient from "@effect/platform/FetchHttpClient";
import { Clock, Config, Console, Duration, Effect, Layer, Logger, Option, Stream } from "effect";
import { BackendRegistry, layer as registryLayer } from "../backend/BackendRegistry.js";
import * as Pool from "../backend/Pool.js";
import type { PoolEvent } from "../backend/PoolEvent.js";
import { algorithms } from "../balancing/Algorithms.js";
import { CommandError, EX_USAGE } from "../cli/CommandError.js";
import * as Environment from "../config/Environment.js";
import { settings } from "../config/Settings.js";
import * as DiscoverySync from "../discovery/DiscoverySync.js";
import * as OperatorDiscovery from "../discovery/OperatorDiscovery.js";
import * as HealthChecker from "../health/HealthChecker.js";
import { Monitoring, layer as monitoringLayer } from "../monitoring/Monitoring.js";
import { format, type SocketAddress } from "../net/SocketAddress.js";
import { LoadBalancer, layer as loadBalancerLayer } from "../proxy/LoadBalancer.js";
import * as NodeTransport from "../transport/node/NodeTransport.js";
import * as EmbeddedBackend from "./EmbeddedBackend.js";
import * as EmbeddedOperator from "./EmbeddedOperator.js";

const defaults = {
  BIND_ADDRESS: "127.0.0.1",
  HEALTH_BIND_ADDRESS: "127.0.0.1",
  LOG_LEVEL: "error",
  DISCOVERY_INTERVAL: "1s",
  HEALTH_CHECK_INTERVAL: "500ms",
  HEALTH_CHECK_TIMEOUT: "500ms",
  CONNECT_TIMEOUT: "1s",
  DRAIN_TIMEOUT: "1s",
  PAUSE: "10 seconds",
};

/** Nothing that the demo waits for takes longer than this, unless something is wrong. */
const patience = Duration.seconds(30);

/** The port of a variable. If a default port is taken, any free one is used. */
const onPort = <A, E, R>(
  variable: string,
  port: number,
  listen: (port: number) => Layer.Layer<A, E, R>,
): Layer.Layer<A, E, R> =>
  Layer.unwrapEffect(
    Effect.map(Effect.option(Config.string(variable)), (asked) =>
      Option.isSome(asked) ? listen(port) : Layer.catchAll(listen(port), () => listen(0)),
    ),
  );

/** Which backend answers one request over a connection of its own, or what went wrong. */
const whoAnswers = (address: SocketAddress): Effect.Effect<string> =>
  Effect.async((resume) => {
    const request = get({ ...address, agent: false, timeout: 5000 }, (response) => {
      let body = "";
      response.setEncoding("utf8");
      response.on("data", (text: string) => {
        body += text;
      });
      response.on("end", () =>
        resume(Effect.succeed(/^hello from (\S+)/.exec(body)?.[1] ?? "somebody else")),
      );
    });
    request.on("timeout", () => request.destroy());
    request.on("error", () => resume(Effect.succeed("nobody")));
    return Effect.sync(() => request.destroy());
  });

/** `backend-1 2, backend-3 4`: how many of the requests each backend answers. */
const sixRequests = (address: SocketAddress): Effect.Effect<string> =>
  Effect.map(Effect.replicateEffect(whoAnswers(address), 6), (names) => {
    const counts = new Map<string, number>();
    for (const name of [...names].sort()) counts.set(name, (counts.get(name) ?? 0) + 1);
    return [...counts].map(([name, count]) => `${name} ${count}`).join(", ");
  });

const say = (text: string): Effect.Effect<void> =>
  Effect.flatMap(Clock.currentTimeMillis, (now) =>
    Console.log(`${new Date(now).toTimeString().slice(0, 8)}  ${text}`),
  );

/** Waits until the balancer knows a backend to be up or down; returns how long it took, and why. */
const noticed = (
  events: Stream.Stream<PoolEvent>,
  tag: "Up" | "Down",
  { instance }: EmbeddedBackend.EmbeddedBackend,
): Effect.Effect<string> =>
  events.pipe(
    Stream.filter((item) => item._tag === tag && item.backend.id === instance.id),
    Stream.runHead,
    Effect.map(Option.match({ onNone: () => "", onSome: (item) => ("why" in item ? `: ${item.why}` : "") })),
    Effect.timed,
    Effect.map(([took, why]) => `the balancer noticed after ${Duration.toSeconds(took).toFixed(1)} s${why}`),
    Effect.timeoutTo({
      duration: patience,
      onSuccess: (text) => text,
      onTimeout: () => `the balancer has not noticed within ${Duration.format(patience)}`,
    }),
  );

/** One backend dies and returns, again and again; what the balancer makes of it is printed. */
const dyingAndReturning = (
  backend: EmbeddedBackend.EmbeddedBackend,
  address: SocketAddress,
  pause: Duration.Duration,
) =>
  Effect.gen(function* () {
    const registry = yield* BackendRegistry;
    const { id } = backend.instance;
    const printSpread = Effect.flatMap(sixRequests(address), (spread) => say(`six requests now: ${spread}`));
    const event = <E>(what: string, happen: Effect.Effect<void, E>, tag: "Up" | "Down") =>
      Effect.scoped(
        Effect.gen(function* () {
          yield* Effect.sleep(pause);
          const events = yield* registry.events;
          yield* say(`${id} ${what}`);
          yield* happen;
          yield* say(yield* noticed(events, tag, backend));
          yield* printSpread;
        }),
      );
    yield* printSpread;
    yield* Effect.forever(
      Effect.zipRight(event("dies", backend.die, "Down"), event("returns", backend.comeBack, "Up")),
    );
  });

const allUp = Effect.flatMap(BackendRegistry, ({ until }) =>
  Effect.timeoutOption(
    until((pool) => pool.listed > 0 && Pool.healthy(pool) === pool.listed),
    patience,
  ),
);

const program = Effect.gen(function* () {
  yield* Effect.addFinalizer(() => Console.log("The demo has ended."));
  const given = yield* settings;
  const pause = yield* Config.duration("PAUSE");
  const one = yield* EmbeddedBackend.make("backend-1", 9001);
  const two = yield* EmbeddedBackend.make("backend-2", 9002);
  const three = yield* EmbeddedBackend.make("backend-3", 9003);
  const instances = [one, two, three].map(({ instance }) => instance);
  const operator = yield* EmbeddedOperator.make(instances);

  const registry = registryLayer({
    algorithm: algorithms[given.algorithm],
    rise: given.healthCheckRise,
    fall: given.healthCheckFall,
  });
  const discovery = DiscoverySync.layer({ interval: given.discoveryInterval }).pipe(
    Layer.provide(
      OperatorDiscovery.layer({ url: operator.url, token: undefined, timeout: given.discoveryTimeout }),
    ),
    Layer.provide(FetchHttpClient.layer),
  );
  const health = HealthChecker.layer({
    interval: given.healthCheckInterval,
    timeout: given.healthCheckTimeout,
  });
  const proxy = onPort("PORT", given.port, (port) =>
    loadBalancerLayer({
      host: given.bindAddress,
      port,
      connectTimeout: given.connectTimeout,
      connectRetries: given.connectRetries,
      drainTimeout: given.drainTimeout,
      accessLog: given.accessLog,
    }),
  );
  const monitoring = onPort("HEALTH_PORT", given.healthPort, (port) =>
    monitoringLayer({ host: given.healthBindAddress, port, adminToken: given.adminToken }),
  );
  const balancer = Layer.mergeAll(discovery, health, proxy).pipe(
    Layer.provideMerge(monitoring),
    Layer.provideMerge(registry),
    Layer.provide(NodeTransport.layer),
  );

  yield* Effect.gen(function* () {
    const address = (yield* LoadBalancer).address;
    const http = `http://${format((yield* Monitoring).address)}`;
    yield* allUp;
    yield* Console.log(
      [
        `The load balancer (${given.algorithm}) is at http://${format(address)}. Behind it are:`,
        ...instances.map((instance) => `  ${instance.id} at ${format(instance.address)}`),
        `It found them by asking the Operator at ${operator.url.origin}.`,
        "",
        `Open ${http}/ in a browser to watch it. Or try in another terminal:`,
        `  curl http://${format(address)}  # a backend says who it is; ask again`,
        `  curl ${http}/health  # how the load balancer is`,
        `  curl ${http}/backends  # what it knows of each backend`,
        `  curl ${http}/readyz  # whether it takes clients`,
        "",
        `${two.instance.id} dies and returns every ${Duration.format(pause)}. Ctrl-C ends the demo.`,
        "",
      ].join("\n"),
    );
    yield* dyingAndReturning(two, address, pause);
  }).pipe(Effect.provide(balancer), Logger.withMinimumLogLevel(given.logLevel));
});

/** Runs until it is interrupted. */
export const demo: Effect.Effect<void, CommandError> = program.pipe(
  Effect.scoped,
  Effect.withConfigProvider(Environment.over(defaults)),
  Effect.mapError(
    (error) =>
      new CommandError({ message: error.message, code: error._tag === "SettingsError" ? EX_USAGE : 1 }),
  ),
);
