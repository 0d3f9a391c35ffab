/**
 * Discovery from a fixed list of addresses. Those that are names are looked up again each time it is asked, each by
 * itself: a name whose name server is silent keeps no other waiting, and an answer that comes late is kept.
 *
 * @example
 * ```ts
 * import { Config } from "effect"
 * import { Settings, StaticDiscovery } from "zeitwork-load-balancer"
 *
 * const discovery = StaticDiscovery.layer({ backends: [{ host: "web.internal", port: 3000 }] })
 * const configured = StaticDiscovery.layerConfig({
 *   backends: Config.map(Settings.config, ({ backends = [] }) => backends),
 * })
 * ```
 */
import {
  Cause,
  Config,
  type ConfigError,
  Duration,
  Effect,
  Fiber,
  FiberMap,
  Layer,
  type Scope,
} from "effect";
import type { Instance } from "../backend/Backend.js";
import * as Timeout from "../clock/Timeout.js";
import * as InvalidOption from "../config/InvalidOption.js";
import * as Settings from "../config/Settings.js";
import { isUnspecified } from "../net/IpAddress.js";
import { format, isHostName, isIpAddress, type SocketAddress } from "../net/SocketAddress.js";
import { type Answer, Discovery, DiscoveryError, type Skipped } from "./Discovery.js";
import * as NameLookup from "./NameLookup.js";

export type { LookupError, NameLookup } from "./NameLookup.js";

/**
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /**
   * Where the backends are: IP addresses, or names that stand for all the addresses they have. Weight, limit and role
   * of a name are those of each of its addresses.
   */
  readonly backends: ReadonlyArray<ListedBackend>;
  /**
   * How long a list waits for the first address of a name; for the other names it waits a second at most. One that
   * takes longer is looked up on. 3 s unless said otherwise.
   */
  readonly timeout?: Duration.DurationInput;
  /** How names are looked up; as this host is set up, unless something else is given. */
  readonly lookUp?: NameLookup.NameLookup;
}

/**
 * An address and a port, and how much is to be given to what is there.
 *
 * @since 0.2.0
 * @category models
 */
export type ListedBackend = SocketAddress & Pick<Instance, "weight" | "limit" | "role">;

/** How long a list waits for the rest of its names when it knows an address already. */
const grace = Duration.seconds(1);

/** How many names a message lists. */
const mostListed = 10;

/** A name's A and AAAA records usually lead to the same hosts: with both families each host would count twice. */
const ofOneFamily = (addresses: ReadonlyArray<string>): ReadonlyArray<string> => {
  const known = [...new Set(addresses)].filter((each) => isIpAddress(each) && !isUnspecified(each)).sort();
  const v4 = known.filter((address) => !address.includes(":"));
  return v4.length > 0 ? v4 : known;
};

/** What is known of a name. */
interface Name {
  readonly host: string;
  /** What it was when it was last looked up with success. */
  addresses: ReadonlyArray<string>;
  /** Why the last look-up failed; undefined when it did not. */
  failure: string | undefined;
  /** A list has waited for it in vain. No other waits until it was looked up with success. */
  overdue: boolean;
}

const checkBackends = (
  backends: ReadonlyArray<ListedBackend>,
): Effect.Effect<void, InvalidOption.InvalidOption> => {
  const wrong = backends.findIndex(
    ({ host, port }) =>
      !(isIpAddress(host) || isHostName(host)) || !Number.isInteger(port) || port < 1 || port > 65535,
  );
  if (wrong === -1) return Effect.void;
  const { host, port } = backends[wrong] ?? {};
  return new InvalidOption.InvalidOption({
    option: `backends[${wrong}]`,
    value: JSON.stringify({ host, port }),
    accepted: "an IP address without brackets or a host name, and a port from 1 to 65535",
  });
};

/**
 * Builds Discovery over a fixed list. Its scope owns the look-ups that are under way.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  options: Options,
): Effect.Effect<typeof Discovery.Service, InvalidOption.InvalidOption, Scope.Scope> =>
  Effect.gen(function* () {
    const { backends } = options;
    yield* checkBackends(backends);
    const timeoutMillis = yield* InvalidOption.duration(
      "timeout",
      options.timeout ?? Settings.defaults.discoveryTimeout,
    );
    const lookUp = options.lookUp ?? (yield* NameLookup.make());
    const lookups = yield* FiberMap.make<string>();
    /** Opens when there is an address to be listed. */
    const known = yield* Effect.makeLatch(backends.some(({ host }) => isIpAddress(host)));

    const names = new Map(
      backends
        .map(({ host }) => host)
        .filter((host) => !isIpAddress(host))
        .map((host): [string, Name] => [host, { host, addresses: [], failure: undefined, overdue: false }]),
    );

    const refresh = (name: Name): Effect.Effect<void> =>
      lookUp(name.host).pipe(
        Effect.map(ofOneFamily),
        Effect.filterOrFail(
          (addresses) => addresses.length > 0,
          () => new NameLookup.LookupError({ why: "it has no address" }),
        ),
        Effect.match({
          onFailure: ({ why }) => {
            name.failure = why;
          },
          onSuccess: (addresses) => {
            name.addresses = addresses;
            name.failure = undefined;
            name.overdue = false;
            known.unsafeOpen();
          },
        }),
        // The look-up may be an implementation from outside.
        Effect.catchAllDefect((defect) => {
          name.failure = "a defect";
          return Effect.logError("a look-up failed by a defect", Cause.die(defect)).pipe(
            Effect.annotateLogs({ name: name.host }),
          );
        }),
      );

    /** Looks a name up, unless that is under way, and waits for it only if it has answered in time before. */
    const refreshed = (name: Name): Effect.Effect<void> =>
      Effect.gen(function* () {
        const lookup = yield* Effect.orElse(FiberMap.get(lookups, name.host), () =>
          FiberMap.run(lookups, name.host, refresh(name)),
        );
        if (!name.overdue) yield* Fiber.await(lookup);
      });

    const waitedInVain = Effect.gen(function* () {
      for (const name of names.values()) {
        if (!(yield* FiberMap.has(lookups, name.host))) continue;
        name.overdue = true;
        name.failure ??= "no answer yet";
      }
    });

    const list = Effect.gen(function* () {
      yield* Effect.forEach(names.values(), refreshed, { concurrency: "unbounded", discard: true }).pipe(
        Effect.raceFirst(Effect.zipRight(Effect.sleep(grace), known.await)),
        Timeout.timeoutFail(timeoutMillis, () => "timeout"),
        Effect.ignore,
        Effect.zipRight(waitedInVain),
      );
      const instances: Array<Instance> = [];
      const skipped: Array<Skipped> = [];
      for (const backend of backends) {
        const id = format(backend);
        const name = names.get(backend.host);
        const { host, port, ...terms } = backend;
        if (name === undefined) {
          instances.push({ id, address: { host, port }, ...terms });
          continue;
        }
        for (const host of name.addresses) {
          instances.push({ id: `${id}@${host}`, name: id, address: { host, port }, ...terms });
        }
        if (name.failure === undefined) continue;
        const kept = name.addresses.length === 0 ? "" : "; the addresses it had are kept";
        skipped.push({
          entry: id,
          why: `its name could not be resolved (${name.failure})${kept}`,
          malformed: true,
        });
      }
      if (instances.length === 0 && skipped.length > 0) {
        const failed = [...names.values()].map(({ failure, host }) => `${host} (${failure})`);
        const others = failed.length - mostListed;
        return yield* new DiscoveryError({
          reason: "unreachable",
          message:
            `no name could be resolved: ${failed.slice(0, mostListed).join(", ")}` +
            (others > 0 ? ` and ${others} more` : ""),
        });
      }
      return { instances, skipped } satisfies Answer;
    });

    return Discovery.of({ source: "a fixed list", list });
  });

/**
 * A fixed list in place of a service that is asked.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options: Options): Layer.Layer<Discovery, InvalidOption.InvalidOption> =>
  Layer.scoped(Discovery, make(options));

/**
 * The same with options from a ConfigProvider.
 *
 * @since 0.2.0
 * @category layers
 */
export const layerConfig = (
  options: Config.Config.Wrap<Omit<Options, "lookUp">>,
): Layer.Layer<Discovery, InvalidOption.InvalidOption | ConfigError.ConfigError> =>
  Layer.unwrapEffect(Effect.map(Config.unwrap(options), layer));
