import { assert, describe, it } from "@effect/vitest";
import { Effect } from "effect";
import * as RouteLookup from "../../src/net/RouteLookup.js";
import * as Namespace from "../support/Namespace.js";

const isolated = it.scopedLive.skipIf(!Namespace.available);

const local = (host: string) => RouteLookup.isLocal(host);

describe("RouteLookup", () => {
  it.live("says of loopback and of every address that they are local", () =>
    Effect.gen(function* () {
      for (const host of ["127.0.0.1", "127.0.0.5", "0.0.0.0", "::ffff:127.0.0.1"]) {
        assert.isTrue(yield* local(host), host);
      }
    }),
  );

  it.live("says of a name, which it does not look up, that it is not", () =>
    Effect.gen(function* () {
      assert.isFalse(yield* local("localhost"));
      assert.strictEqual((yield* Effect.flip(RouteLookup.to("localhost"))).code, "EINVAL");
    }),
  );

  isolated("tells this host's own addresses from others, though any may be bound", () =>
    Effect.gen(function* () {
      yield* Namespace.isolated;
      yield* Namespace.run("ip address add 10.1.0.1/24 dev lo");
      yield* Namespace.run("ip -6 address add 2001:db8::1/64 dev lo nodad");
      yield* Namespace.set("net/ipv4/ip_nonlocal_bind", "1");
      assert.isTrue(yield* local("10.1.0.1"));
      assert.isTrue(yield* local("2001:db8::1"));
      assert.isTrue(yield* local("::1"));
      assert.isFalse(yield* local("10.2.0.1"));
      assert.isFalse(yield* local("2001:db9::1"));
    }),
  );

  isolated("fails where there is no route, and where there is no address to use it with", () =>
    Effect.gen(function* () {
      yield* Namespace.isolated;
      assert.strictEqual((yield* Effect.flip(RouteLookup.to("10.2.0.1"))).code, "ENETUNREACH");
      yield* Namespace.set("net/ipv6/conf/all/disable_ipv6", "1");
      assert.strictEqual((yield* Effect.flip(RouteLookup.to("::1"))).code, "EADDRNOTAVAIL");
    }),
  );
});
