/**
 * Every metric there is, by name. Recording ({@link Metrics}), the `/metrics` page and the documentation all
 * follow from this file.
 *
 * Names follow the Prometheus conventions: one prefix, base units (seconds, bytes), `_total` on counters; the
 * latter is added where they are written out.
 * https://prometheus.io/docs/practices/naming/
 */
/**
 * What is measured under one name.
 *
 * @since 0.2.0
 * @category models
 */
export interface Family<Label extends string = string> {
  /** Without `_total`. */
  readonly name: string;
  readonly type: "counter" | "gauge" | "histogram";
  /** What it counts, as one sentence. */
  readonly help: string;
  /** Every series has exactly these; each takes a bounded number of values. */
  readonly labels: ReadonlyArray<Label>;
  /** Of a histogram: its buckets' upper bounds. */
  readonly bounds: ReadonlyArray<number>;
}

const counter = <Label extends string = never>(
  name: string,
  help: string,
  labels: ReadonlyArray<Label> = [],
): Family<Label> => ({ name: `lb_${name}`, type: "counter", help, labels, bounds: [] });

const gauge = <Label extends string = never>(
  name: string,
  help: string,
  labels: ReadonlyArray<Label> = [],
): Family<Label> => ({ name: `lb_${name}`, type: "gauge", help, labels, bounds: [] });

const histogram = <Label extends string = never>(
  name: string,
  help: string,
  bounds: ReadonlyArray<number>,
  labels: ReadonlyArray<Label> = [],
): Family<Label> => ({ name: `lb_${name}`, type: "histogram", help, labels, bounds });

/** The labels of whatever belongs to one backend. */
const backend = ["backend", "address"] as const;
type OfBackend = (typeof backend)[number];

// A connect takes a tenth of a millisecond on a host and some hundred between continents.
const connectBounds = [0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5];
// Connections last from one request to days.
const durationBounds = [0.001, 0.005, 0.02, 0.1, 0.5, 1, 5, 15, 60, 300, 1_800, 7_200, 86_400];
// A client waits for a place as long as QUEUE_TIMEOUT lets it.
const waitBounds = [0.001, 0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30];
const bytesBounds = [64, 512, 4_096, 32_768, 262_144, 2_097_152, 16_777_216, 134_217_728, 1_073_741_824];

export const catalog = {
  opened: counter("connections_opened", "Connections accepted from clients."),
  open: gauge(
    "connections_open",
    "Connections open now, those that are still looking for a backend included.",
  ),
  refused: counter(
    "connections_refused",
    "Connections reset because no backend could take them, there were as many as there can be, or their clients may not come.",
    ["reason"],
  ),
  queued: counter("connections_queued", "Connections that waited for a place at a backend."),
  queueLength: gauge("queue_length", "Connections that wait for a place at a backend now."),
  queueSeconds: histogram(
    "queue_wait_seconds",
    "How long connections waited for a place at a backend, those that got none included.",
    waitBounds,
  ),
  acceptErrors: counter("accept_errors", "Connections that could not be accepted."),
  ended: counter("connections_ended", "Connections that have ended, by who ended them and in which phase.", [
    "by",
    "phase",
  ]),
  connectionSeconds: histogram(
    "connection_duration_seconds",
    "How long connections lasted, from being accepted to their end.",
    durationBounds,
  ),
  connectionBytes: histogram(
    "connection_bytes",
    "Bytes that one connection carried: received from the client, or sent to it.",
    bytesBounds,
    ["direction"],
  ),

  backendUp: gauge("backend_up", "1 while the backend takes new connections, 0 while it does not.", backend),
  backendSteered: gauge(
    "backend_steered",
    "1 while an operator keeps new connections from the backend: it is drained or disabled.",
    backend,
  ),
  backendOpen: gauge("backend_connections_open", "Connections open on the backend.", backend),
  backendOpened: counter("backend_connections_opened", "Connections made to the backend.", backend),
  backendBytes: counter<OfBackend | "direction">(
    "backend_bytes",
    "Bytes relayed for the backend, received from clients or sent to them.",
    [...backend, "direction"],
  ),
  connectSeconds: histogram(
    "backend_connect_duration_seconds",
    "How long it took to connect to the backend, for connections that could be made.",
    connectBounds,
    backend,
  ),
  connectFailures: counter<OfBackend | "reason">(
    "backend_connect_failures",
    "Clients' connections that could not be made to the backend.",
    [...backend, "reason"],
  ),
  redispatches: counter(
    "backend_redispatches",
    "Connections given to another backend after this one failed.",
    backend,
  ),
  probes: counter<OfBackend | "result">("backend_probes", "Probes of the backend.", [...backend, "result"]),
  probeSeconds: histogram(
    "backend_probe_duration_seconds",
    "How long probes took that succeeded.",
    connectBounds,
    backend,
  ),
  transitions: counter<OfBackend | "to">("backend_transitions", "How often the backend went up or down.", [
    ...backend,
    "to",
  ]),
  stateSeconds: gauge(
    "backend_state_seconds",
    "Seconds since the backend last went up or down, or an operator's choice changed.",
    backend,
  ),

  polls: counter("discovery_polls", "Times the list of backends was asked for.", ["result"]),
  listSeconds: gauge("discovery_last_success_seconds", "Seconds since the list of backends was last got."),
  listed: gauge("backends_listed", "Backends that discovery lists."),
  healthy: gauge("backends_healthy", "Listed backends that take new connections."),
  draining: gauge("draining", "1 once the balancer drains."),
  steeringRefused: counter(
    "steering_refused",
    "Requests to drain, disable or enable a backend whose token was wrong or missing.",
  ),
  linesDropped: counter(
    "log_lines_dropped",
    "Log lines that were dropped because they could not be written.",
  ),
  transportFaults: counter(
    "transport_faults",
    "Exceptions in the transport, each of which reset a connection. More than 0 is a bug of the balancer.",
  ),

  threads: gauge("threads", "Data threads that run now."),
  threadOpen: gauge("thread_connections_open", "Connections that the data thread has.", ["thread"]),
  threadCpu: counter("thread_cpu_seconds", "Processor time that the data thread has used.", ["thread"]),
  threadTurns: counter("thread_turns", "Turns of the data thread's loop.", ["thread"]),
  threadWaits: counter("thread_waits", "How often the data thread has waited in the kernel.", ["thread"]),
  threadSilent: gauge(
    "thread_silent_seconds",
    "For how long the data thread has taken no turn; 5 and more means that it does not answer.",
    ["thread"],
  ),
  threadSilences: counter("thread_silences", "How often the data thread has taken no turn for 5 seconds.", [
    "thread",
  ]),
  threadQueued: gauge(
    "thread_queued",
    "What the main thread and the data thread have not heard of each other yet: orders to it, and reports of it.",
    ["thread", "queue"],
  ),

  loopDelay: gauge(
    "event_loop_delay_seconds",
    "How late timers were since this was last asked for, by percentile.",
    ["percentile"],
  ),
  cpu: counter("process_cpu_seconds", "Processor time used, user and system."),
  memory: gauge("process_resident_memory_bytes", "Memory in use."),
  descriptors: gauge("process_open_fds", "Descriptors open."),
  descriptorLimit: gauge("process_max_fds", "Descriptors that may be open."),
  started: gauge("process_start_time_seconds", "When the process started, in seconds since 1970."),
  build: gauge("build_info", "Always 1; its labels say what runs.", [
    "version",
    "node",
    "transport",
    "algorithm",
  ]),
} satisfies Record<string, Family>;

/**
 * What labels can be that take few values. Each of these series is there from the beginning, with a 0: of one that
 * begins with what happened first, Prometheus sees no increase.
 * https://prometheus.io/docs/practices/instrumentation/#avoid-missing-metrics
 *
 * @since 0.2.0
 * @category constants
 */
export const values = {
  refused: [
    "no-backend",
    "backends-full",
    "queue-full",
    "queue-timeout",
    "connect-failed",
    "at-capacity",
    "proxy-header",
    "denied",
    "client-limit",
    "client-rate",
  ],
  /** `by/phase`, of connections that were relayed; those that the balancer ends otherwise begin with their first. */
  ended: ["client", "backend", "client-reset", "backend-reset"].flatMap((by) => [
    `${by}/relaying`,
    `${by}/draining`,
  ]),
  connectFailures: [
    "refused",
    "timeout",
    "unreachable",
    "no-source-address",
    "reset",
    "no-free-port",
    "exhausted",
    "invalid-address",
    "other",
  ],
  probes: ["success", "failure"],
  transitions: ["up", "down"],
  polls: ["success", "unreachable", "timeout", "status", "too-large", "malformed", "defect"],
} as const;

/**
 * Why a backend could not be connected to.
 *
 * @since 0.2.0
 * @category models
 */
export type ConnectFailureReason = (typeof values.connectFailures)[number];
/**
 * Why a client was reset without a backend.
 *
 * @since 0.2.0
 * @category models
 */
export type RefusedReason = (typeof values.refused)[number];
/**
 * How asking for the list of backends ended.
 *
 * @since 0.2.0
 * @category models
 */
export type PollResult = (typeof values.polls)[number];

/** Every family, in the order in which they are written out. */
export const families: ReadonlyArray<Family> = Object.values(catalog);
