import { assert, describe, it } from "@effect/vitest";
import { Effect, Either, Fiber } from "effect";
import * as NameLookup from "../../src/discovery/NameLookup.js";
import * as ScriptedNameServer from "../support/ScriptedNameServer.js";

interface Setup {
  /** What the name server answers, by `A name` or `AAAA name`; a name that is not there does not exist. */
  readonly zone?: Readonly<Record<string, ScriptedNameServer.Reply>>;
  readonly hosts?: string;
  /** Beside the name server. */
  readonly resolvConf?: string;
  readonly nsswitchConf?: string;
  readonly getaddrinfo?: (name: string) => Promise<ReadonlyArray<string>>;
}

/** A host that is set up so. Answers its look-up, and what the name server was asked. */
const hostWith = ({
  getaddrinfo,
  hosts = "",
  nsswitchConf = "hosts: files dns",
  resolvConf = "",
  zone = {},
}: Setup) =>
  Effect.gen(function* () {
    const server = yield* ScriptedNameServer.make(
      ({ name, type }) => zone[`${type} ${name}`] ?? "no such name",
    );
    const files: Readonly<Record<string, string>> = {
      "/etc/hosts": hosts,
      "/etc/resolv.conf": `nameserver ${server.address}\n${resolvConf}`,
      "/etc/nsswitch.conf": nsswitchConf,
    };
    const lookUp = yield* NameLookup.make({
      read: (path) => Effect.succeed(files[path]),
      hostname: Effect.succeed("host"),
      getaddrinfo: getaddrinfo ?? (() => Promise.reject(new Error("the system was asked"))),
      otherSources: false,
    });
    return { lookUp, asked: server.asked };
  });

const why = (effect: Effect.Effect<unknown, NameLookup.LookupError>) =>
  Effect.map(Effect.flip(effect), (error) => error.why);

describe("NameLookup", () => {
  it.scopedLive("looks in the hosts file first, and asks nobody for what is there", () =>
    Effect.gen(function* () {
      const { asked, lookUp } = yield* hostWith({ hosts: "10.0.0.1 Web.Test\n10.0.0.2 web.test" });
      assert.deepStrictEqual(yield* lookUp("web.test"), ["10.0.0.1", "10.0.0.2"]);
      assert.deepStrictEqual(yield* lookUp("WEB.test."), ["10.0.0.1", "10.0.0.2"]);
      assert.deepStrictEqual(asked, []);
    }),
  );

  it.scopedLive("finds a short name in the search domains, as on Kubernetes", () =>
    Effect.gen(function* () {
      const { asked, lookUp } = yield* hostWith({
        resolvConf: "search shop.svc.cluster.local svc.cluster.local\noptions ndots:5",
        zone: {
          "A redis.svc.cluster.local": ["10.96.0.7"],
          "A db.data.test": ["10.0.0.9"],
        },
      });
      assert.deepStrictEqual(yield* lookUp("redis"), ["10.96.0.7"]);
      assert.deepStrictEqual(asked, ["A redis.shop.svc.cluster.local", "A redis.svc.cluster.local"]);
      assert.deepStrictEqual(yield* lookUp("db.data.test"), ["10.0.0.9"]);
      assert.strictEqual(asked.at(-1), "A db.data.test");
    }),
  );

  it.scopedLive("asks for IPv6 addresses only where a name has no others", () =>
    Effect.gen(function* () {
      const { asked, lookUp } = yield* hostWith({
        zone: {
          "A four.test": ["10.0.0.1", "10.0.0.2"],
          "A six.test": [],
          "AAAA six.test": ["20010db8000000000000000000000005".replace(/(.{4})(?=.)/g, "$1:")],
          "A none.test": [],
          "AAAA none.test": [],
        },
      });
      assert.sameMembers([...(yield* lookUp("four.test"))], ["10.0.0.1", "10.0.0.2"]);
      assert.deepStrictEqual(yield* lookUp("six.test"), ["2001:db8::5"]);
      assert.strictEqual(yield* why(lookUp("none.test")), "ENOTFOUND");
      assert.deepStrictEqual(asked, [
        "A four.test",
        "A six.test",
        "AAAA six.test",
        "A none.test",
        "AAAA none.test",
      ]);
    }),
  );

  it.scopedLive("does not take the IPv6 addresses of a name whose others cannot be had", () =>
    Effect.gen(function* () {
      const { lookUp } = yield* hostWith({
        resolvConf: "options attempts:1",
        zone: {
          "A web.test": "cannot answer",
          "AAAA web.test": ["20010db8000000000000000000000005".replace(/(.{4})(?=.)/g, "$1:")],
        },
      });
      assert.strictEqual(yield* why(lookUp("web.test")), "ESERVFAIL");
    }),
  );

  it.scopedLive("finds a name although many others get no answer at all", () =>
    Effect.gen(function* () {
      const dead = Array.from({ length: 50 }, (_, i) => `d${i}.dead.test`);
      const { lookUp } = yield* hostWith({
        zone: {
          ...Object.fromEntries(dead.map((name) => [`A ${name}`, "silent" as const])),
          "A good.test": ["10.0.0.1"],
        },
      });
      const waiting = yield* Effect.forEach(dead, (name) => Effect.fork(Effect.either(lookUp(name))));
      assert.deepStrictEqual(yield* lookUp("good.test"), ["10.0.0.1"]);
      for (const fiber of waiting) assert.isTrue((yield* Fiber.poll(fiber))._tag === "None");
      yield* Fiber.interruptAll(waiting);
    }),
  );

  it.scopedLive("fails where no answer comes, asks for no further name then, and never the system", () =>
    Effect.gen(function* () {
      const { asked, lookUp } = yield* hostWith({
        nsswitchConf: "hosts: files dns mdns4",
        resolvConf: "search a.test b.test\noptions timeout:1 attempts:1",
        zone: { "A x.a.test": "silent" },
      });
      assert.strictEqual(yield* why(lookUp("x")), "ETIMEOUT");
      assert.deepStrictEqual([...new Set(asked)], ["A x.a.test"]);
    }),
  );

  it.scopedLive(
    "asks the system only where nsswitch.conf names other sources, and only for what was not found",
    () =>
      Effect.gen(function* () {
        const names: Array<string> = [];
        const getaddrinfo = (name: string) => {
          names.push(name);
          return Promise.resolve(["10.0.0.8"]);
        };
        const zone = { "A web.test": ["10.0.0.1"] };
        const plain = yield* hostWith({ zone, getaddrinfo });
        assert.strictEqual(yield* why(plain.lookUp("printer.local")), "ENOTFOUND");
        const more = yield* hostWith({ zone, getaddrinfo, nsswitchConf: "hosts: files mdns4_minimal dns" });
        assert.deepStrictEqual(yield* more.lookUp("web.test"), ["10.0.0.1"]);
        assert.deepStrictEqual(names, []);
        assert.deepStrictEqual(yield* more.lookUp("printer.local"), ["10.0.0.8"]);
        assert.deepStrictEqual(names, ["printer.local"]);
        const withoutDns = yield* hostWith({ zone, getaddrinfo, nsswitchConf: "hosts: files resolve" });
        assert.deepStrictEqual(yield* withoutDns.lookUp("web.test"), ["10.0.0.8"]);
        assert.deepStrictEqual(withoutDns.asked, []);
      }),
  );

  it.scopedLive("asks the system for one name at a time, also when nobody waits for it any more", () =>
    Effect.gen(function* () {
      const started: Array<string> = [];
      const ends = new Map<string, (addresses: ReadonlyArray<string>) => void>();
      const { lookUp } = yield* hostWith({
        nsswitchConf: "hosts: resolve",
        getaddrinfo: (name) => {
          started.push(name);
          return new Promise((resolve) => ends.set(name, resolve));
        },
      });
      const first = yield* Effect.fork(lookUp("first"));
      while (started.length === 0) yield* Effect.sleep("1 millis");
      const second = yield* Effect.fork(lookUp("second"));
      yield* Fiber.interrupt(first);
      for (let i = 0; i < 20; i++) yield* Effect.sleep("1 millis");
      assert.deepStrictEqual(started, ["first"]);
      ends.get("first")?.([]);
      while (started.length === 1) yield* Effect.sleep("1 millis");
      ends.get("second")?.(["10.0.0.2"]);
      assert.deepStrictEqual(yield* Fiber.join(second), ["10.0.0.2"]);
    }),
  );

  it.live("ends what is asked of name servers with its scope", () =>
    Effect.gen(function* () {
      const waiting = yield* Effect.scoped(
        Effect.gen(function* () {
          const { asked, lookUp } = yield* hostWith({ zone: { "A dead.test": "silent" } });
          const fiber = yield* Effect.forkDaemon(Effect.either(lookUp("dead.test")));
          while (asked.length === 0) yield* Effect.sleep("1 millis");
          return fiber;
        }),
      );
      // Its name server would have been waited for a quarter of a minute.
      assert.isTrue(Either.isLeft(yield* Fiber.join(waiting)));
    }),
  );

  it.scopedLive("looks names up as this host is set up", () =>
    Effect.gen(function* () {
      const lookUp = yield* NameLookup.make();
      const addresses = yield* lookUp("localhost");
      assert.isTrue(addresses.includes("127.0.0.1") || addresses.includes("::1"));
    }),
  );
});
