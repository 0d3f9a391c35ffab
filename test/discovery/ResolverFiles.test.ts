import { assert, describe, it } from "@effect/vitest";
import { FastCheck } from "effect";
import * as ResolverFiles from "../../src/discovery/ResolverFiles.js";

describe("ResolverFiles", () => {
  it("reads a hosts file", () => {
    const hosts = ResolverFiles.parseHosts(
      [
        "# comment",
        "127.0.0.1\tlocalhost  loopback # more",
        "::1 localhost",
        "10.0.0.1 Web.Test web",
        "10.0.0.2 web",
        "10.0.0.2 web",
        "nonsense web",
        "10.0.0.3",
        `fe80::1%${"x".repeat(16)} web`,
        "   10.0.0.4 indented\r",
      ].join("\n"),
    );
    assert.deepStrictEqual(Object.fromEntries(hosts), {
      localhost: ["127.0.0.1", "::1"],
      loopback: ["127.0.0.1"],
      "web.test": ["10.0.0.1"],
      web: ["10.0.0.1", "10.0.0.2"],
      indented: ["10.0.0.4"],
    });
  });

  it("reads a resolv.conf as that of a pod", () => {
    assert.deepStrictEqual(
      ResolverFiles.parseResolvConf(
        "search shop.svc.cluster.local svc.cluster.local cluster.local.\nnameserver 10.96.0.10\noptions ndots:5\n",
        "pod",
      ),
      {
        servers: ["10.96.0.10"],
        search: ["shop.svc.cluster.local", "svc.cluster.local", "cluster.local"],
        ndots: 5,
        timeoutMillis: 5000,
        attempts: 2,
      },
    );
  });

  it("keeps what resolv.conf says within bounds, and takes the last of search and domain", () => {
    assert.deepStrictEqual(
      ResolverFiles.parseResolvConf(
        [
          "; comment",
          "# nameserver 1.1.1.1",
          "nameserver 10.0.0.1",
          "nameserver 10.0.0.2 ignored",
          "nameserver 10.0.0.3",
          "nameserver 10.0.0.4",
          "search a.test b.test",
          "domain c.test d.test",
          "options timeout:0 attempts:99 ndots:99 rotate edns0",
          "options timeout:nonsense",
          "sortlist 10.0.0.0",
        ].join("\n"),
        "host.company.test",
      ),
      {
        servers: ["10.0.0.1", "10.0.0.2", "10.0.0.3"],
        search: ["c.test"],
        ndots: 15,
        timeoutMillis: 1000,
        attempts: 5,
      },
    );
  });

  it("looks in the host's own domain where resolv.conf names none", () => {
    assert.deepStrictEqual(ResolverFiles.parseResolvConf("", "host.company.test").search, ["company.test"]);
    assert.deepStrictEqual(ResolverFiles.parseResolvConf("", "host").search, []);
    assert.deepStrictEqual(ResolverFiles.parseResolvConf("search .", "host.company.test").search, []);
  });

  it("reads where nsswitch.conf looks for hosts", () => {
    const sources = (line: string) =>
      ResolverFiles.parseNsswitchConf(`passwd: files systemd\n${line}\nnetworks: files mdns\n`);
    for (const [line, expected] of [
      ["hosts: files dns", { files: true, dns: true, others: false }],
      ["hosts:files dns # mdns", { files: true, dns: true, others: false }],
      ["hosts: files mdns4_minimal [NOTFOUND=return] dns", { files: true, dns: true, others: true }],
      [
        "hosts: mymachines resolve [!UNAVAIL=return] files myhostname dns",
        { files: true, dns: true, others: true },
      ],
      ["hosts: dns [!UNAVAIL=return] files", { files: true, dns: true, others: false }],
      ["hosts: files", { files: true, dns: false, others: false }],
      ["#hosts: files", { files: true, dns: true, others: false }],
      ["", { files: true, dns: true, others: false }],
    ] as const) {
      assert.deepStrictEqual(sources(line), expected, line);
    }
  });

  it("asks for a name in the search domains, before or after the name itself", () => {
    const config = { ...ResolverFiles.parseResolvConf("search a.test b.test", "host"), ndots: 2 };
    assert.deepStrictEqual(ResolverFiles.candidates("redis", config), [
      "redis.a.test",
      "redis.b.test",
      "redis",
    ]);
    assert.deepStrictEqual(ResolverFiles.candidates("x.y.z", config), [
      "x.y.z",
      "x.y.z.a.test",
      "x.y.z.b.test",
    ]);
    assert.deepStrictEqual(ResolverFiles.candidates("redis.", config), ["redis"]);
    const long = `${"x".repeat(63)}.`.repeat(3) + "x".repeat(60);
    assert.deepStrictEqual(ResolverFiles.candidates(long, config), [long]);
  });

  it("never breaks, whatever the files hold", () => {
    const text = FastCheck.oneof(
      FastCheck.string(),
      FastCheck.array(
        FastCheck.constantFrom(
          "nameserver",
          "search",
          "options",
          "ndots:",
          ":",
          "[",
          "]",
          "hosts:",
          "#",
          "\n",
          " ",
          "::1",
          "\t",
          "9",
        ),
      ).map((words) => words.join("")),
    );
    FastCheck.assert(
      FastCheck.property(text, FastCheck.string(), (content, name) => {
        const config = ResolverFiles.parseResolvConf(content, name);
        assert.isAtMost(config.servers.length, 3);
        assert.isAtMost(config.search.length, 32);
        assert.isTrue(config.ndots >= 0 && config.ndots <= 15);
        assert.isTrue(config.timeoutMillis >= 1000 && config.timeoutMillis <= 30_000);
        assert.isTrue(config.attempts >= 1 && config.attempts <= 5);
        assert.include(ResolverFiles.candidates(`${name}x`, config), `${name}x`);
        ResolverFiles.parseHosts(content);
        ResolverFiles.parseNsswitchConf(content);
      }),
    );
  });
});
