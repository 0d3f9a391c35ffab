/**
 * The transport of Linux: epoll and splice, called from JavaScript. It needs no privilege and nothing compiled; bulky
 * traffic never leaves the kernel.
 */
import { Effect, Layer, type Scope } from "effect";
import * as InvalidOption from "../../config/InvalidOption.js";
import * as Library from "../../libc/Library.js";
import * as DescriptorBudget from "../../net/DescriptorBudget.js";
import * as Descriptors from "../../net/Descriptors.js";
import { Transport } from "../Transport.js";
import { HostLoop, Libc } from "./ContextTags.js";
import * as KernelLimits from "./KernelLimits.js";
import { KernelRing } from "./KernelRing.js";
import * as KoffiLibc from "./KoffiLibc.js";
import { make, type Options, type ThreadOptions } from "./LinuxMechanism.js";
import * as NodeHostLoop from "./NodeHostLoop.js";
import { selfTest } from "./SelfTest.js";
import { TransportUnavailable, unavailable } from "./TransportUnavailable.js";

export type { ThreadOptions } from "./LinuxMechanism.js";
export { ResetOnCrash } from "./ResetOnCrash.js";
export { TransportUnavailable, type Unavailable } from "./TransportUnavailable.js";

/** The most data threads of a transport. */
const mostThreads = 64;

/** How many clients may be connected at once, by the descriptors that are left for them. */
const capacity = (): number => DescriptorBudget.forClients(Descriptors.read()) ?? Number.POSITIVE_INFINITY;

/** koffi, where this system has one. */
const load: Effect.Effect<Library.Koffi, TransportUnavailable> = Effect.suspend(() => {
  const { platform, arch } = process;
  if (platform !== "linux" || (arch !== "x64" && arch !== "arm64")) {
    return new TransportUnavailable({
      reason: "unsupported-platform",
      detail: `this is ${platform} on ${arch}`,
    });
  }
  return Effect.tryPromise({
    try: Library.load,
    catch: (cause) => unavailable("not-installed", cause),
  });
});

/** The native part of koffi, open for data threads for as long as the scope is. */
const native: Effect.Effect<Library.Native, TransportUnavailable, Scope.Scope> = Effect.acquireRelease(
  Effect.suspend(() => {
    const opened = Library.openNative();
    return opened === undefined
      ? Effect.fail(new TransportUnavailable({ reason: "not-installed", detail: "its file is not known" }))
      : Effect.succeed(opened);
  }),
  ({ close }) => Effect.sync(close),
);

const callable = <A>(make: () => A): Effect.Effect<A, TransportUnavailable> =>
  Effect.try({
    try: make,
    catch: (cause) => unavailable("not-callable", cause),
  });

/**
 * The system calls of this process and its loop, through koffi.
 *
 * @internal
 */
export const layerSystem: Layer.Layer<Libc | HostLoop, TransportUnavailable> = Layer.unwrapEffect(
  Effect.map(load, (koffi) =>
    Layer.merge(
      Layer.effect(
        Libc,
        callable(() => KoffiLibc.make(koffi)),
      ),
      Layer.effect(
        HostLoop,
        callable(() => NodeHostLoop.make(koffi)),
      ),
    ),
  ),
);

/** Says that a limit is too low, and what happens then. */
const warn = (line: string, shortage: KernelLimits.Shortage | undefined): Effect.Effect<void> =>
  shortage === undefined ? Effect.void : Effect.annotateLogs(Effect.logWarning(line), { ...shortage });

const warnOfPipes = Effect.suspend(() =>
  warn(
    "bulk may be copied, at the price of more processor time: the system allows too few pages in pipes",
    KernelLimits.shortOfPipePages(KernelLimits.read()),
  ),
);

/** Where memory for a ring was refused. That of a data thread is told as text, with the kernel's word in it. */
const warnOfLockedMemory =
  (dataThreads: number) =>
  ({ detail }: TransportUnavailable): Effect.Effect<void> =>
    Effect.suspend(() =>
      warn(
        "io_uring cannot be used: the system allows too little locked memory",
        detail.includes("(ENOMEM)")
          ? KernelLimits.shortOfLockedMemory(KernelLimits.read(), dataThreads)
          : undefined,
      ),
    );

/**
 * The transport over given system calls; fails where what it relays to try itself does not arrive.
 *
 * @internal
 */
export const layerWith = (options: Options): Layer.Layer<Transport, TransportUnavailable, Libc | HostLoop> =>
  Layer.scoped(
    Transport,
    make(options).pipe(
      Effect.tap((transport) =>
        Effect.mapError(
          selfTest(transport),
          (detail) => new TransportUnavailable({ reason: "self-test-failed", detail }),
        ),
      ),
      Effect.zipLeft(warnOfPipes),
    ),
  );

/**
 * Linux's own sockets by io_uring, and by epoll where that is better; fails where this kernel does not allow io_uring,
 * and after a self-test that failed.
 *
 * @since 0.2.0
 * @category layers
 */
export const layerIoUring: Layer.Layer<Transport, TransportUnavailable> = Layer.unwrapEffect(
  Effect.flatMap(load, (koffi) =>
    Effect.map(
      callable(() => KoffiLibc.makeUring(koffi)),
      (uring) =>
        Layer.provide(
          layerWith({
            capacity: capacity(),
            ring: (engine) => new KernelRing(uring, engine),
          }),
          layerSystem,
        ),
    ),
  ),
).pipe(Layer.tapError(warnOfLockedMemory(0)));

/**
 * Linux's own sockets: in a process whose C library and loop can be called, after a self-test.
 *
 * @example
 * ```ts
 * import { Effect, Layer } from "effect"
 * import { LinuxTransport, NodeTransport } from "zeitwork-load-balancer"
 *
 * // Linux's calls where they can be made, and Node's sockets elsewhere.
 * const transport = LinuxTransport.layer.pipe(
 *   Layer.tapError(({ message }) => Effect.logWarning(message)),
 *   Layer.orElse(() => NodeTransport.layer),
 * )
 * ```
 *
 * @since 0.2.0
 * @category layers
 */
export const layer: Layer.Layer<Transport, TransportUnavailable> = Layer.suspend(() =>
  Layer.provide(layerWith({ capacity: capacity() }), layerSystem),
);

/**
 * {@link layer} with data threads: the thread of the fibers listens, probes, and decides where each client goes; data
 * threads connect and relay what is forwarded, so that bytes do not wait for anything else that the process does, and
 * several cores can be used.
 *
 * A data thread that ends by a fault is replaced: what it relayed is reset, and ends as `thread-lost`.
 *
 * @since 0.2.0
 * @category layers
 */
export const layerThreads = (
  options: ThreadOptions,
): Layer.Layer<Transport, TransportUnavailable | InvalidOption.InvalidOption> =>
  Layer.unwrapScoped(
    Effect.gen(function* () {
      yield* InvalidOption.count("threads", options.threads, { least: 1, most: mostThreads });
      const koffi = yield* load;
      const counters = yield* callable(() => KoffiLibc.makeEventCounters(koffi));
      const { path } = yield* native;
      if (options.ioUring !== true) {
        return Layer.provide(
          layerWith({ capacity: capacity(), threads: { ...options, counters, koffi: path } }),
          layerSystem,
        );
      }
      const uring = yield* callable(() => KoffiLibc.makeUring(koffi));
      const clearRing = yield* callable(() => KoffiLibc.makeClearRemains(koffi));
      return Layer.provide(
        layerWith({
          capacity: capacity(),
          ring: (engine) => new KernelRing(uring, engine),
          threads: { ...options, counters, koffi: path, clearRing },
        }),
        layerSystem,
      ).pipe(Layer.tapError(warnOfLockedMemory(options.threads)));
    }),
  );
