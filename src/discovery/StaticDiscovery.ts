/**
 * Discovery from a fixed list of addresses. Those that are names are resolved again each time it is asked.
 */
import { lookup } from "node:dns/promises";
import { Data, Duration, Effect, Either, Layer } from "effect";
import type { Instance } from "../backend/Backend.js";
import { format, isIpAddress, type SocketAddress } from "../net/SocketAddress.js";
import { type Answer, Discovery, DiscoveryError, type Skipped } from "./Discovery.js";

/** A name that could not be resolved. */
export class ResolveError extends Data.TaggedError("ResolveError")<{
  /** Why, in a word or two: the system's code, where there is one. */
  readonly why: string;
}> {}

/** Answers every IP address of a name, in text. */
export type Resolve = (name: string) => Effect.Effect<ReadonlyArray<string>, ResolveError>;

export interface Options {
  /** Where the backends are: IP addresses, or names that stand for all the addresses they resolve to. */
  readonly backends: ReadonlyArray<SocketAddress>;
  /** How long resolving a name may take. */
  readonly timeout: Duration.DurationInput;
  /** How names are resolved; as the operating system does it, unless something else is given. */
  readonly resolve?: Resolve;
}

const codeOf = (error: unknown): string =>
  typeof error === "object" && error !== null && "code" in error ? String(error.code) : "unknown error";

/**
 * Resolves as the operating system does it (hosts file, search domains, DNS). The system's look-up cannot be
 * called off: whoever asks again for a name that is still being looked up waits for that answer, so that
 * look-ups do not pile up behind a resolver that hangs.
 */
export const makeSystemResolve = (): Resolve => {
  const underway = new Map<string, ReturnType<typeof lookupAll>>();
  const lookupAll = (name: string) => lookup(name, { all: true }).finally(() => underway.delete(name));
  return (name) =>
    Effect.tryPromise({
      try: async () => {
        const answer = underway.get(name) ?? lookupAll(name);
        underway.set(name, answer);
        return (await answer).map(({ address }) => address);
      },
      catch: (error) => new ResolveError({ why: codeOf(error) }),
    });
};

// A name's A and AAAA records usually lead to the same hosts: with both families each host would count twice.
const ofOneFamily = (addresses: ReadonlyArray<string>): ReadonlyArray<string> => {
  const known = [...new Set(addresses.filter(isIpAddress))].sort();
  const v4 = known.filter((address) => !address.includes(":"));
  return v4.length > 0 ? v4 : known;
};

/** Builds Discovery over a fixed list. */
export const make = ({
  backends,
  timeout,
  resolve = makeSystemResolve(),
}: Options): typeof Discovery.Service => {
  // What each name resolved to when it last did.
  const lastKnown = new Map<string, ReadonlyArray<string>>();

  const resolved = (name: string): Effect.Effect<ReadonlyArray<string>, string> =>
    resolve(name).pipe(
      Effect.map(ofOneFamily),
      Effect.mapError(({ why }) => why),
      Effect.filterOrFail(
        (addresses) => addresses.length > 0,
        () => "it has no address",
      ),
      Effect.timeoutFail({
        duration: timeout,
        onTimeout: () => `no answer within ${Duration.format(timeout)}`,
      }),
    );

  const names = [...new Set(backends.map(({ host }) => host).filter((host) => !isIpAddress(host)))];

  const list = Effect.gen(function* () {
    const answers = yield* Effect.forEach(
      names,
      (name) => Effect.map(Effect.either(resolved(name)), (answer) => [name, answer] as const),
      { concurrency: "unbounded" },
    );
    const failed = new Map<string, string>();
    for (const [name, answer] of answers) {
      if (Either.isRight(answer)) lastKnown.set(name, answer.right);
      else failed.set(name, answer.left);
    }
    const instances: Array<Instance> = [];
    const skipped: Array<Skipped> = [];
    for (const backend of backends) {
      const { host, port } = backend;
      const name = format(backend);
      const addresses = isIpAddress(host) ? [] : (lastKnown.get(host) ?? []);
      if (isIpAddress(host)) instances.push({ id: name, address: backend });
      for (const address of addresses) {
        instances.push({ id: `${name}@${address}`, name, address: { host: address, port } });
      }
      const why = failed.get(host);
      if (why === undefined) continue;
      const kept = addresses.length === 0 ? "" : "; the addresses it had are kept";
      skipped.push({ entry: name, why: `its name could not be resolved (${why})${kept}`, malformed: true });
    }
    if (instances.length === 0 && skipped.length > 0) {
      return yield* new DiscoveryError({
        reason: "unreachable",
        message: `no name could be resolved: ${[...failed].map(([name, why]) => `${name} (${why})`).join(", ")}`,
      });
    }
    return { instances, skipped } satisfies Answer;
  });

  return Discovery.of({ source: "a fixed list", list });
};

/** A fixed list in place of a service that is asked. */
export const layer = (options: Options): Layer.Layer<Discovery> => Layer.sync(Discovery, () => make(options));
