/**
 * The program: reads the settings, picks the implementations and wires the Layers. Nothing else chooses an
 * implementation. It is run by bin.ts.
 */
import { readFileSync } from "node:fs";
import { isatty } from "node:tty";
import { makeRunMain } from "@effect/platform/Runtime";
import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient";
import { Cause, Duration, Effect, Exit, Layer, Logger, LogLevel, Option, Stream } from "effect";
import * as BackendRegistry from "./backend/BackendRegistry.js";
import { algorithms } from "./balancing/Algorithms.js";
import { CommandError, cannotListen, EX_USAGE, settings as readSettings } from "./cli/CommandError.js";
import * as Environment from "./config/Environment.js";
import type { InvalidOption } from "./config/InvalidOption.js";
import * as Misspelling from "./config/Misspelling.js";
import { describe, type EnvironmentName, type Settings, table } from "./config/Settings.js";
import type { Discovery } from "./discovery/Discovery.js";
import * as DiscoverySync from "./discovery/DiscoverySync.js";
import * as OperatorDiscovery from "./discovery/OperatorDiscovery.js";
import * as StaticDiscovery from "./discovery/StaticDiscovery.js";
import * as HealthChecker from "./health/HealthChecker.js";
import * as FreeMemory from "./libc/FreeMemory.js";
import * as Library from "./libc/Library.js";
import * as JournalPriority from "./log/JournalPriority.js";
import * as LogWriter from "./log/LogWriter.js";
import * as Monitoring from "./monitoring/Monitoring.js";
import type { ListenError } from "./net/ListenError.js";
import * as Cores from "./process/Cores.js";
import * as Signals from "./process/Signals.js";
import * as LoadBalancer from "./proxy/LoadBalancer.js";
import * as StateFile from "./state/StateFile.js";
import * as InheritedSocket from "./systemd/InheritedSocket.js";
import * as JournalStream from "./systemd/JournalStream.js";
import * as Systemd from "./systemd/Systemd.js";
import * as Telemetry from "./telemetry/Telemetry.js";
import * as LinuxTransport from "./transport/linux/LinuxTransport.js";
import * as NodeTransport from "./transport/node/NodeTransport.js";
import * as SourceAddresses from "./transport/SourceAddresses.js";
import { Transport } from "./transport/Transport.js";

const loggers: Readonly<Record<EnvironmentName, Layer.Layer<never, never, LogWriter.LogWriter>>> = {
  development: LogWriter.pretty(process.stdout.isTTY === true),
  staging: LogWriter.json,
  production: LogWriter.json,
};

const stdin = 0;
const stdout = 1;
const stderr = 2;

const { version }: { readonly version: string } = JSON.parse(
  readFileSync(new URL("../package.json", import.meta.url), "utf8"),
);

/** A port that cannot be listened on ends the command with a message that names the variables which asked for it. */
const explainListenError = <A, R>(
  layer: Layer.Layer<A, InvalidOption | ListenError, R>,
  why: (error: ListenError) => string,
) =>
  Layer.mapError(layer, (error) =>
    error._tag === "InvalidOption"
      ? new CommandError({ message: error.message, code: EX_USAGE })
      : new CommandError({ message: why(error), code: 1 }),
  );

/** Why a socket of systemd cannot be listened on. */
const cannotListenOnInherited = (descriptor: number) => (error: ListenError) =>
  `the socket that systemd passes (descriptor ${descriptor}) cannot be listened on (${error.code}): it has to be a TCP socket, as ListenStream= with a port makes one`;

/** Its options are within the bounds that settings are checked for. */
const discovery = (settings: Settings): Layer.Layer<Discovery> =>
  (settings.backends === undefined
    ? OperatorDiscovery.layer({
        url: settings.operatorUrl,
        token: settings.operatorToken,
        timeout: settings.discoveryTimeout,
      }).pipe(Layer.provide(NodeHttpClient.layer))
    : StaticDiscovery.layer({ backends: settings.backends, timeout: settings.discoveryTimeout })
  ).pipe(Layer.orDie);

/** A transport where it can run, and another where it cannot, with a line that says why. */
const withFallback = <E>(
  first: Layer.Layer<Transport, LinuxTransport.TransportUnavailable>,
  other: Layer.Layer<Transport, E>,
  line: Effect.Effect<void>,
): Layer.Layer<Transport, E> =>
  Layer.catchAll(first, ({ message }) =>
    Layer.provideMerge(other, Layer.effectDiscard(Effect.annotateLogs(line, { why: message }))),
  );

/** How many data threads `auto` means for this number of processors. */
const threadsOf = (processors: number): number => (processors === 1 ? 0 : Math.min(processors, 8));

/** Linux's transport, with data threads where they are asked for. How many has been checked with the settings. */
const linuxTransport = (
  threads: number,
  ioUring: boolean,
): Layer.Layer<Transport, LinuxTransport.TransportUnavailable> => {
  if (threads === 0) return ioUring ? LinuxTransport.layerIoUring : LinuxTransport.layer;
  return Layer.catchAll(LinuxTransport.layerThreads({ threads, ioUring }), (error) =>
    error._tag === "InvalidOption" ? Layer.die(error) : Layer.fail(error),
  );
};

/** Connections are made from the addresses that the settings name. This host may come to have them later. */
const sources = ({ sourceAddresses = [] }: Settings): Layer.Layer<never, CommandError> =>
  Layer.mapError(
    SourceAddresses.layer(sourceAddresses),
    ({ message }) => new CommandError({ message: `${table.sourceAddresses.name}: ${message}`, code: 1 }),
  );

/** The Linux transport where it runs, unless the settings say otherwise. */
const transport = (settings: Settings): Layer.Layer<Transport, CommandError> =>
  Layer.provide(transportOf(settings), [
    Layer.succeed(LinuxTransport.ResetOnCrash, settings.resetOnCrash),
    sources(settings),
  ]);

const transportOf = (settings: Settings): Layer.Layer<Transport, CommandError> => {
  const { transport } = settings;
  const threads = settings.threads === "auto" ? threadsOf(Cores.count()) : settings.threads;
  const refused = ({ message }: LinuxTransport.TransportUnavailable): CommandError =>
    new CommandError({ message: `${message}: set LB_TRANSPORT to auto or node`, code: 1 });
  const linux = Layer.mapError(linuxTransport(threads, false), refused);
  switch (transport) {
    case "node":
      return NodeTransport.layer;
    case "linux":
      return linux;
    case "io_uring":
      return withFallback(
        linuxTransport(threads, true),
        linux,
        Effect.logInfo("epoll is used in place of io_uring"),
      );
    case "auto":
      return withFallback(
        linuxTransport(threads, false),
        NodeTransport.layer,
        threads === 0
          ? Effect.logInfo("Node's sockets are used")
          : Effect.logWarning("Node's sockets are used, and no data threads"),
      );
  }
};

/** What the metrics and the status say of this program. */
const programInfo = Effect.gen(function* () {
  const { dataThreads, faults, name } = yield* Transport;
  const { dropped } = yield* LogWriter.LogWriter;
  const { status: stateFile } = yield* StateFile.StateFile;
  return {
    build: { version, transport: name },
    linesDropped: dropped,
    transportFaults: faults,
    dataThreads,
    stateFile,
  };
});

/** Restores what an earlier process kept, where that is asked for. Its options have been checked with the settings. */
const state = ({ stateFile }: Settings, discovery: Layer.Layer<Discovery>) =>
  stateFile === undefined
    ? StateFile.none
    : StateFile.layer({ path: stateFile }).pipe(Layer.orDie, Layer.provide(discovery));

const monitoring = (settings: Settings) =>
  Layer.unwrapEffect(
    Effect.zipWith(programInfo, Transport, (program, { deferAccept }) =>
      explainListenError(
        Monitoring.layer({
          ...program,
          host: settings.healthBindAddress,
          port: settings.healthPort,
          deferAccept,
          adminToken: settings.adminToken,
        }),
        (error) => cannotListen(error, table.healthPort.name, table.healthBindAddress.name),
      ),
    ),
  );

const sampling = ({ otlpSampler, otlpSampling }: Settings): number =>
  ({ ratio: otlpSampling, all: 1, none: 0 })[otlpSampler];

/** How telemetry is sent; undefined where it is not. */
const otlp = (settings: Settings) =>
  settings.otlpDisabled || settings.otlpEndpoint === undefined
    ? undefined
    : {
        endpoint: settings.otlpEndpoint,
        headers: settings.otlpHeaders,
        serviceName: settings.otlpServiceName,
        sampling: sampling(settings),
        version,
      };

// Neither is loaded unless a collector is configured.
const loadOtlp = Effect.promise(() => import("./telemetry/Otlp.js"));
const loadOtlpMetrics = Effect.promise(() => import("./telemetry/OtlpMetrics.js"));

/** The log and the connections go to the collector. */
const telemetry = (settings: Settings): Layer.Layer<Telemetry.Telemetry> => {
  const options = otlp(settings);
  return options === undefined
    ? Telemetry.none
    : Layer.unwrapEffect(Effect.map(loadOtlp, (Otlp) => Otlp.layer(options))).pipe(
        Layer.provide(NodeHttpClient.layer),
      );
};

/** The metrics go to the collector, for as long as the balancer runs. */
const metricsExport = (settings: Settings) => {
  const options = otlp(settings);
  return options === undefined
    ? Layer.empty
    : Layer.unwrapEffect(
        Effect.zipWith(loadOtlpMetrics, programInfo, (OtlpMetrics, program) =>
          OtlpMetrics.layer({ ...options, ...program }),
        ),
      ).pipe(Layer.provide(NodeHttpClient.layer));
};

/** Goes on taking clients for a while when it is told to stop, and says meanwhile that they should go elsewhere. */
const withShutdownDelay = <E, R>(
  layer: Layer.Layer<LoadBalancer.LoadBalancer, E, R>,
  { shutdownDelay }: Settings,
) => {
  if (Duration.equals(shutdownDelay, Duration.zero)) return layer;
  return Layer.scopedDiscard(
    Effect.gen(function* () {
      const { announceStop } = yield* LoadBalancer.LoadBalancer;
      const { wait } = yield* Signals.Delay;
      yield* Effect.addFinalizer(() =>
        announceStop.pipe(
          Effect.zipRight(Effect.logInfo("stopping: clients are taken for a while")),
          Effect.annotateLogs({ delay: Duration.format(shutdownDelay) }),
          Effect.zipRight(wait(shutdownDelay)),
        ),
      );
    }),
  ).pipe(Layer.provideMerge(layer));
};

/** Notifies systemd when the layer is ready and when it stops, where systemd asks for that. */
const withReadiness = <A, E, R>(layer: Layer.Layer<A, E, R>, settings: Settings) => {
  const options = Systemd.fromEnvironment();
  if (options === undefined) return layer;
  return Systemd.readiness({
    probesTimeout: Duration.sum(settings.healthCheckTimeout, "1 second"),
    stopTimeout: Duration.sum(Duration.sum(settings.shutdownDelay, settings.drainTimeout), "10 seconds"),
  }).pipe(
    Layer.provideMerge(layer),
    Layer.provide(
      Layer.unwrapEffect(
        Effect.map(Transport, ({ dataThreads }) =>
          Systemd.layer({
            ...options,
            // A process whose bytes stand still is as good as dead.
            alive: () => (dataThreads?.() ?? []).every(({ responsive }) => responsive),
          }),
        ),
      ),
    ),
  );
};

/**
 * What only the start needed goes back to the system: V8's parser alone had an eighth of what is resident. With Node's
 * sockets nothing calls the C library, and this need not load what does.
 */
const withoutLeftovers = <A, E, R>(layer: Layer.Layer<A, E, R>) =>
  Layer.effectDiscard(
    Effect.flatMap(Transport, ({ name }) =>
      name === "node" ? Effect.void : Effect.map(Effect.promise(Library.load), FreeMemory.giveBack),
    ),
  ).pipe(Layer.provideMerge(layer));

/**
 * What each layer is provided with outlives it, so they end in this order: the balancer (which drains), health
 * checks and discovery, and monitoring last of all but the registry.
 */
const program = (settings: Settings, inherited: number | undefined) => {
  // One and the same for all who need it.
  const source = discovery(settings);
  return Layer.unwrapEffect(
    Effect.map(Telemetry.Telemetry, ({ connectionEnded }) =>
      LoadBalancer.layer({
        host: settings.bindAddress,
        port: settings.port,
        inherited,
        connectTimeout: settings.connectTimeout,
        connectRetries: settings.connectRetries,
        idleTimeout: settings.idleTimeout,
        halfClosedTimeout: settings.halfClosedTimeout,
        maxConnectionAge: settings.maxConnectionAge,
        onBackendDown: settings.onBackendDown,
        drainTimeout: settings.drainTimeout,
        proxyProtocolFrom: settings.proxyProtocolFrom,
        proxyProtocolTo: settings.proxyProtocolTo,
        proxyProtocolTimeout: settings.proxyProtocolTimeout,
        allowClients: settings.allowClients,
        denyClients: settings.denyClients,
        maxConnections: settings.maxConnections,
        maxConnectionsPerClient: settings.maxConnectionsPerClient,
        maxConnectionRatePerClient: settings.maxConnectionRatePerClient,
        accessLog: settings.accessLog,
        onEnded: connectionEnded,
      }),
    ),
  ).pipe(
    (layer) =>
      explainListenError(
        layer,
        inherited === undefined
          ? (error) => cannotListen(error, table.port.name, table.bindAddress.name)
          : cannotListenOnInherited(inherited),
      ),
    (layer) => withShutdownDelay(layer, settings),
    (layer) => withReadiness(layer, settings),
    withoutLeftovers,
    Layer.provide([
      HealthChecker.layer({
        interval: settings.healthCheckInterval,
        timeout: settings.healthCheckTimeout,
        proxyProtocolTo: settings.proxyProtocolTo,
      }),
      DiscoverySync.layer({ interval: settings.discoveryInterval }).pipe(Layer.orDie, Layer.provide(source)),
    ]),
    Layer.provide([monitoring(settings), metricsExport(settings)]),
    // Before anything lists or steers, and after all that did.
    Layer.provide(state(settings, source)),
    Layer.provide([
      BackendRegistry.layer({
        algorithm: algorithms[settings.algorithm],
        rise: settings.healthCheckRise,
        fall: settings.healthCheckFall,
        maxConnections: settings.maxConnectionsPerBackend,
        queueTimeout: settings.queueTimeout,
        queueLimit: settings.queueLimit,
        slowStart: settings.slowStart,
      }),
      transport(settings),
    ]),
    Layer.mapError((error) =>
      error._tag === "InvalidOption" ? new CommandError({ message: error.message, code: EX_USAGE }) : error,
    ),
  );
};

/** One line for each signal that has no effect. */
const ignoredSignals = Layer.scopedDiscard(
  Signals.IgnoredSignals.pipe(
    Effect.flatMap(
      Stream.runForEach((signal) => Effect.logInfo("signal ignored").pipe(Effect.annotateLogs({ signal }))),
    ),
    Effect.forkScoped,
  ),
);

const serve = Effect.gen(function* () {
  const { settings, warnings } = yield* readSettings;
  const inherited = yield* Effect.mapError(
    InheritedSocket.inherited(),
    ({ message }) => new CommandError({ message, code: EX_USAGE }),
  );
  yield* Effect.logInfo("settings").pipe(
    Effect.annotateLogs(describe(settings)),
    Effect.zipRight(
      Effect.forEach([...warnings, ...Misspelling.ofSettings(Environment.names())], ({ line }) =>
        Effect.logWarning("setting ignored").pipe(Effect.annotateLogs({ why: line })),
      ),
    ),
    Effect.zipRight(Layer.launch(Layer.merge(program(settings, inherited), ignoredSignals))),
    Effect.provide(telemetry(settings)),
    Effect.provide(loggers[settings.environment]),
    Effect.provide(LogWriter.layer(stdout, { journal: JournalStream.reads(stdout) })),
    Logger.withMinimumLogLevel(settings.logLevel),
  );
});

// What only a command needs is loaded for it alone.
const commandLine = Effect.promise(() => import("./cli/Commands.js")).pipe(
  Effect.flatMap(({ run }) =>
    run(process.argv.slice(2), {
      version,
      serve,
      discovery,
      transport: (settings) => transport({ ...settings, threads: 0 }),
      demo: Effect.flatMap(
        Effect.promise(() => import("./demo/Demo.js")),
        ({ demo }) => demo,
      ),
    }),
  ),
);

/** Says on stderr why the program ends. */
const complain = (why: string): void => {
  const text = `load-balancer: ${why}\n`;
  process.stderr.write(JournalStream.reads(stderr) ? JournalPriority.prefixed(text, LogLevel.Error) : text);
};

const main = (process.argv.length > 2 ? commandLine : serve).pipe(
  // A user's mistake is explained in words, on stderr, whatever the log looks like.
  Effect.tapErrorTag("CommandError", ({ message }) => Effect.sync(() => complain(message))),
  Signals.supervise({
    signals: Signals.ofProcess,
    onTerminal: [stdin, stdout, stderr].some(isatty),
    end: Signals.endProcess,
  }),
);

// The reader of the log may end (`| head`); the balancer goes on.
for (const stream of [process.stdout, process.stderr]) stream.on("error", () => {});

/** The exit code of a result. */
const exitCode = <A, E>(exit: Exit.Exit<A, E>): number => {
  // A command has said what its result is.
  if (Exit.isSuccess(exit)) return Number(process.exitCode ?? 0);
  if (Cause.isInterruptedOnly(exit.cause)) return 0;
  const failure = Cause.failureOption(exit.cause);
  if (Option.isSome(failure)) return failure.value instanceof CommandError ? failure.value.code : 1;
  // A bug of ours: everything that is known of it helps.
  complain(Cause.pretty(exit.cause));
  return 1;
};

/** How long something left open may keep the process, in milliseconds. All that belongs to a scope is closed by now. */
const lingerMillis = 5000;

const runMain = makeRunMain(({ fiber, teardown }) => {
  // Waiting alone does not keep a Node process.
  const keepAlive = setInterval(() => {}, 2 ** 31 - 1);
  fiber.addObserver((exit) => {
    clearInterval(keepAlive);
    teardown(exit, () => {});
  });
});

runMain(main, {
  disablePrettyLogger: true,
  disableErrorReporting: true,
  // Not process.exit(), which waits for V8's compiler threads without doing the garbage collection that these may
  // be waiting for, and so hangs about once in a thousand times (https://github.com/nodejs/node/issues/54918). A
  // process with nothing left to do ends by itself, in an order in which they need not wait.
  teardown: (exit) => {
    process.exitCode = exitCode(exit);
    setTimeout(() => process.exit(), lingerMillis).unref();
  },
});
