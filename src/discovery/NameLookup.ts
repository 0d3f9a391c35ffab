/**
 * Looks up host names without a thread that may hang: in the hosts file, and by asking name servers with c-ares. The
 * system's own look-up (getaddrinfo) holds a thread of libuv's pool for as long as a name server is silent, and with
 * two such names nothing else is looked up. It is asked only where nsswitch.conf names other sources, for what was not
 * found before, and for one name at a time.
 */
import { lookup, Resolver } from "node:dns/promises";
import { readFile } from "node:fs/promises";
import { hostname } from "node:os";
import { Data, Duration, Effect, Either, type Scope } from "effect";
import * as ResolverFiles from "./ResolverFiles.js";

/**
 * A name that could not be looked up.
 *
 * @since 0.2.0
 * @category errors
 */
export class LookupError extends Data.TaggedError("LookupError")<{
  /** Why, in a word or two: the code of the system or of the name server, where there is one. */
  readonly why: string;
  readonly cause?: unknown;
}> {}

/**
 * Returns every IP address of a name, in text.
 *
 * @since 0.2.0
 * @category models
 */
export type NameLookup = (name: string) => Effect.Effect<ReadonlyArray<string>, LookupError>;

/** What a look-up needs of the host. */
export interface Host {
  /** The text of a file; undefined where it cannot be read. */
  readonly read: (path: string) => Effect.Effect<string | undefined>;
  readonly hostname: Effect.Effect<string>;
  /** The system's look-up. It cannot be called off. */
  readonly getaddrinfo: (name: string) => Promise<ReadonlyArray<string>>;
  /** Sources that nsswitch.conf does not know of: on systems other than Linux. */
  readonly otherSources: boolean;
}

/** This host. */
export const thisHost: Host = {
  read: (path) => Effect.promise(() => readFile(path, "utf8").catch(() => undefined)),
  hostname: Effect.sync(hostname),
  getaddrinfo: async (name) => (await lookup(name, { all: true })).map(({ address }) => address),
  otherSources: process.platform !== "linux",
};

/** How long the files count as read. */
const filesFor = Duration.seconds(1);

const codeOf = (error: unknown): string =>
  typeof error === "object" && error !== null && "code" in error ? String(error.code) : "unknown error";

const lookupError = (cause: unknown): LookupError => new LookupError({ why: codeOf(cause), cause });

/** There is no such name, or it has no such address. */
const notFound: ReadonlyArray<string> = ["ENOTFOUND", "ENODATA"];
/** Name servers are silent: so would they be for getaddrinfo. */
const silent: ReadonlyArray<string> = ["ETIMEOUT", "ECANCELLED"];

/** A channel of c-ares, set up as the file says. */
const makeResolver = ({ attempts, servers, timeoutMillis }: ResolverFiles.ResolverConfig): Resolver => {
  const resolver = new Resolver({ timeout: timeoutMillis, tries: attempts });
  try {
    if (servers.length > 0) resolver.setServers(servers);
  } catch {
    // The file has an entry that is not an address: c-ares reads it in its own way then.
  }
  return resolver;
};

/**
 * Builds a look-up. The files are read again once a second at most. Ending the scope calls off what is asked of name
 * servers.
 *
 * @since 0.2.0
 * @category constructors
 */
export const make = (host: Host = thisHost): Effect.Effect<NameLookup, never, Scope.Scope> =>
  Effect.gen(function* () {
    // Kept while the file says the same: c-ares remembers which servers do not answer.
    let resolver: { readonly text: string; readonly channel: Resolver } | undefined;
    const channel = (text: string, config: ResolverFiles.ResolverConfig): Resolver => {
      if (resolver?.text !== text) resolver = { text, channel: makeResolver(config) };
      return resolver.channel;
    };
    yield* Effect.addFinalizer(() => Effect.sync(() => resolver?.channel.cancel()));

    const read = Effect.gen(function* () {
      const hosts = yield* host.read("/etc/hosts");
      const resolvConf = (yield* host.read("/etc/resolv.conf")) ?? "";
      const nsswitchConf = yield* host.read("/etc/nsswitch.conf");
      const sources = ResolverFiles.parseNsswitchConf(nsswitchConf ?? "");
      return {
        hosts: ResolverFiles.parseHosts(hosts ?? ""),
        resolvConf,
        config: ResolverFiles.parseResolvConf(resolvConf, yield* host.hostname),
        sources: { ...sources, others: sources.others || host.otherSources },
      };
    });
    const files = yield* Effect.cachedWithTTL(read, filesFor);

    const ask = (name: string, resolver: Resolver): Effect.Effect<ReadonlyArray<string>, LookupError> =>
      Effect.tryPromise({ try: () => resolver.resolve4(name), catch: lookupError }).pipe(
        // Only where a name has no IPv4 address: both usually lead to the same hosts.
        Effect.catchIf(
          ({ why }) => why === "ENODATA",
          () => Effect.tryPromise({ try: () => resolver.resolve6(name), catch: lookupError }),
        ),
      );

    /** The first of several names that is known. A name server that cannot answer one of them may answer the next. */
    const askInOrder = (
      names: ReadonlyArray<string>,
      resolver: Resolver,
    ): Effect.Effect<ReadonlyArray<string>, LookupError> =>
      Effect.gen(function* () {
        let failure = new LookupError({ why: "ENOTFOUND" });
        for (const name of names) {
          const answer = yield* Effect.either(ask(name, resolver));
          if (Either.isRight(answer)) return answer.right;
          const { why } = answer.left;
          if (!notFound.includes(why)) failure = answer.left;
          if (!notFound.includes(why) && why !== "ESERVFAIL") break;
        }
        return yield* failure;
      });

    // A promise that is pending whatever becomes of those who wait: the thread is occupied as long.
    let last: Promise<unknown> = Promise.resolve();
    const askSystem = (name: string): Effect.Effect<ReadonlyArray<string>, LookupError> =>
      Effect.tryPromise({
        try: () => {
          const next = last.then(() => host.getaddrinfo(name));
          last = next.catch(() => undefined);
          return next;
        },
        catch: lookupError,
      });

    return (name) =>
      Effect.gen(function* () {
        const { config, hosts, resolvConf, sources } = yield* files;
        const listed = hosts.get(name.toLowerCase().replace(/\.$/, ""));
        if (sources.files && listed !== undefined) return listed;
        const asked = sources.dns
          ? yield* Effect.either(
              askInOrder(ResolverFiles.candidates(name, config), channel(resolvConf, config)),
            )
          : Either.left(new LookupError({ why: "ENOTFOUND" }));
        if (Either.isRight(asked)) return asked.right;
        if (!sources.others || silent.includes(asked.left.why)) return yield* asked.left;
        return yield* askSystem(name);
      });
  });
