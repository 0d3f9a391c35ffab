import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { assert, describe, it } from "@effect/vitest";
import { Config, ConfigProvider, Duration, Effect, Either, FastCheck, LogLevel, Redacted } from "effect";
import * as Environment from "../../src/config/Environment.js";
import * as Settings from "../../src/config/Settings.js";

const read = (given: Readonly<Record<string, string>>) =>
  Settings.settings.pipe(
    Effect.withConfigProvider(ConfigProvider.fromMap(new Map(Object.entries(given)))),
    Effect.either,
    Effect.runSync,
  );

const accepted = (given: Readonly<Record<string, string>>): Settings.Settings =>
  Either.getOrThrowWith(read(given), (error) => error);

const refused = (given: Readonly<Record<string, string>>): ReadonlyArray<string> =>
  Either.match(read(given), {
    onLeft: (error) => error.message.split("\n").slice(1),
    onRight: () => assert.fail(`accepted ${JSON.stringify(given)}`),
  });

/** One line that names the variable and shows the value. */
const refusedAlone = (name: string, value: string): string => {
  const [line = "", ...others] = refused({ [name]: value });
  assert.deepStrictEqual(others, []);
  assert.include(line, `${name}=${JSON.stringify(value)}: `);
  assert.include(line, "; accepted: ");
  return line;
};

/** One warning that names the variable, while all settings are the defaults. */
const ignored = (given: Readonly<Record<string, string>>): string => {
  const found = Settings.read.pipe(
    Effect.withConfigProvider(ConfigProvider.fromMap(new Map(Object.entries(given)))),
    Effect.runSync,
  );
  assert.deepStrictEqual(found.settings, Settings.defaults);
  assert.deepStrictEqual(
    found.warnings.map(({ names }) => names),
    [Object.keys(given)],
  );
  return found.warnings[0]?.line ?? "";
};

const durations = {
  DISCOVERY_INTERVAL: "discoveryInterval",
  DISCOVERY_TIMEOUT: "discoveryTimeout",
  HEALTH_CHECK_INTERVAL: "healthCheckInterval",
  HEALTH_CHECK_TIMEOUT: "healthCheckTimeout",
  CONNECT_TIMEOUT: "connectTimeout",
  DRAIN_TIMEOUT: "drainTimeout",
  PROXY_PROTOCOL_TIMEOUT: "proxyProtocolTimeout",
} as const;

describe("Settings", () => {
  it("are the documented defaults in an empty environment", () => {
    assert.deepStrictEqual(Settings.describe(accepted({})), {
      PORT: "8082",
      HEALTH_PORT: "8083",
      BIND_ADDRESS: "::",
      HEALTH_BIND_ADDRESS: "::",
      LOG_LEVEL: "info",
      ENVIRONMENT: "development",
      OPERATOR_URL: "http://localhost:8080",
      OPERATOR_TOKEN: "none",
      BACKENDS: "none",
      ADMIN_TOKEN: "none",
      LB_ALGORITHM: "round-robin",
      DISCOVERY_INTERVAL: "5s",
      DISCOVERY_TIMEOUT: "3s",
      HEALTH_CHECK_INTERVAL: "5s",
      HEALTH_CHECK_TIMEOUT: "2s",
      HEALTH_CHECK_RISE: "2",
      HEALTH_CHECK_FALL: "3",
      CONNECT_TIMEOUT: "5s",
      CONNECT_RETRIES: "2",
      STATE_FILE: "none",
      SHUTDOWN_DELAY: "0s",
      SOURCE_ADDRESSES: "none",
      IDLE_TIMEOUT: "none",
      HALF_CLOSED_TIMEOUT: "none",
      MAX_CONNECTION_AGE: "none",
      ON_BACKEND_DOWN: "keep",
      LB_TRANSPORT: "auto",
      LB_THREADS: "0",
      RESET_ON_CRASH: "true",
      ACCESS_LOG: "errors",
      PROXY_PROTOCOL_FROM: "none",
      PROXY_PROTOCOL_TO: "off",
      PROXY_PROTOCOL_TIMEOUT: "5s",
      ALLOW_CLIENTS: "none",
      DENY_CLIENTS: "none",
      MAX_CONNECTIONS: "none",
      MAX_CONNECTIONS_PER_BACKEND: "none",
      QUEUE_TIMEOUT: "5s",
      QUEUE_LIMIT: "1024",
      SLOW_START: "0s",
      MAX_CONNECTIONS_PER_CLIENT: "none",
      MAX_CONNECTION_RATE_PER_CLIENT: "none",
      DRAIN_TIMEOUT: "30s",
      OTEL_SDK_DISABLED: "false",
      OTEL_EXPORTER_OTLP_ENDPOINT: "none",
      OTEL_EXPORTER_OTLP_HEADERS: "none",
      OTEL_SERVICE_NAME: "zeitwork-load-balancer",
      OTEL_TRACES_SAMPLER: "traceidratio",
      OTEL_TRACES_SAMPLER_ARG: "0.01",
    });
  });

  it("have one entry each in the list of variables, whose default is what holds when unset", () => {
    const shown = Settings.describe(accepted({}));
    assert.deepStrictEqual(
      Settings.variables.map(({ name }) => name),
      Object.keys(shown),
    );
    for (const variable of Settings.variables) {
      assert.strictEqual(shown[variable.name], variable.default ?? "none");
      assert.isNotEmpty(variable.about);
      assert.isNotEmpty(variable.accepted);
      // Writing the default down is the same as leaving it out, as far as one can see.
      if (variable.default !== undefined) {
        assert.deepStrictEqual(Settings.describe(accepted({ [variable.name]: variable.default })), shown);
      }
    }
  });

  it("have defaults that are what an empty environment is read as", () => {
    assert.deepStrictEqual(accepted({}), Settings.defaults);
  });

  it("come from the process environment when nothing else is given", () => {
    const before = process.env.HEALTH_CHECK_RISE;
    process.env.HEALTH_CHECK_RISE = "7";
    try {
      assert.strictEqual(Effect.runSync(Settings.settings).healthCheckRise, 7);
    } finally {
      if (before === undefined) delete process.env.HEALTH_CHECK_RISE;
      else process.env.HEALTH_CHECK_RISE = before;
    }
  });

  it("are an effect Config, which can be nested and combined", () => {
    const team = Config.all({ name: Config.string("TEAM"), balancer: Config.nested(Settings.config, "LB") });
    const given = (values: Readonly<Record<string, string>>) =>
      team.pipe(
        Effect.withConfigProvider(
          ConfigProvider.fromMap(new Map(Object.entries(values)), { pathDelim: "_" }),
        ),
        Effect.either,
        Effect.runSync,
      );
    const found = Either.getOrThrow(given({ TEAM: "web", LB_PORT: " 9000 ", PORT: "1" }));
    assert.deepStrictEqual(found.balancer, { ...Settings.defaults, port: 9000 });
    const wrong = Either.flip(given({ TEAM: "web", LB_PORT: "eighty", LB_OPERATOR_TOKEN: "s3crét" }));
    const message = String(Either.getOrThrow(wrong));
    assert.include(message, 'LB.PORT: ""eighty": it is not a whole number; accepted: ');
    assert.include(message, "LB.OPERATOR_TOKEN: ");
    assert.notInclude(message, "s3cr");
    const both = Either.flip(given({ TEAM: "web", LB_PORT: "9000", LB_HEALTH_PORT: "9000" }));
    assert.include(String(Either.getOrThrow(both)), "PORT and HEALTH_PORT are both 9000");
  });

  it("are named as the user wrote them under a ConfigProvider with a prefix", () => {
    const providers = [
      ConfigProvider.nested("LB"),
      (provider: ConfigProvider.ConfigProvider) =>
        ConfigProvider.orElse(ConfigProvider.nested(provider, "LB"), () => ConfigProvider.fromMap(new Map())),
    ];
    for (const prefixed of providers) {
      const given = (values: Readonly<Record<string, string>>) =>
        Settings.settings.pipe(
          Effect.withConfigProvider(
            prefixed(ConfigProvider.fromMap(new Map(Object.entries(values)), { pathDelim: "_" })),
          ),
          Effect.either,
          Effect.runSync,
        );
      assert.strictEqual(Either.getOrThrow(given({ LB_PORT: "9000" })).port, 9000);
      const error = Either.getOrThrow(Either.flip(given({ LB_PORT: "eighty", LB_LOG_LEVEL: "loud" })));
      assert.deepStrictEqual(
        error.problems.map(({ names }) => names),
        [["LB_PORT"], ["LB_LOG_LEVEL"]],
      );
      assert.include(error.message, '  LB_PORT="eighty": it is not a whole number; accepted: ');
      const both = Either.getOrThrow(Either.flip(given({ LB_PORT: "9000", LB_HEALTH_PORT: "9000" })));
      assert.include(both.message, "  LB_PORT and LB_HEALTH_PORT are both 9000: ");
    }
  });

  it("come from the environment over the defaults of a demo, also where they are wrong", () => {
    const before = process.env.HEALTH_CHECK_RISE;
    const under = (text: string) => {
      process.env.HEALTH_CHECK_RISE = text;
      return Settings.settings.pipe(
        Effect.withConfigProvider(Environment.over({ HEALTH_CHECK_RISE: "5", CONNECT_RETRIES: "9" })),
        Effect.either,
        Effect.runSync,
      );
    };
    try {
      const found = Either.getOrThrow(under("7"));
      assert.deepStrictEqual([found.healthCheckRise, found.connectRetries], [7, 9]);
      assert.strictEqual(Either.getOrThrow(under(" ")).healthCheckRise, 5);
      assert.isTrue(Either.isLeft(under("seven")));
    } finally {
      if (before === undefined) delete process.env.HEALTH_CHECK_RISE;
      else process.env.HEALTH_CHECK_RISE = before;
    }
  });

  it("are trimmed, and an empty one counts as unset", () => {
    const found = accepted({
      PORT: " 8000\t",
      BACKENDS: "  ",
      OPERATOR_TOKEN: "",
      LB_ALGORITHM: "",
      BIND_ADDRESS: " ",
    });
    assert.strictEqual(found.port, 8000);
    assert.isUndefined(found.backends);
    assert.isUndefined(found.operatorToken);
    assert.strictEqual(found.algorithm, "round-robin");
    assert.isUndefined(found.bindAddress);
  });

  it("name every wrong one in one message, a line each", () => {
    const error = Either.getOrThrow(
      Either.flip(
        read({
          PORT: "eighty",
          LOG_LEVEL: "loud",
          DISCOVERY_INTERVAL: "0s",
          BACKENDS: "10.0.0.1",
          OPERATOR_URL: "ftp://host",
        }),
      ),
    );
    const [head, ...lines] = error.message.split("\n");
    assert.strictEqual(head, "5 settings are wrong:");
    assert.deepStrictEqual(
      lines.map((line) => line.trim().split("=")[0]),
      ["PORT", "LOG_LEVEL", "OPERATOR_URL", "BACKENDS", "DISCOVERY_INTERVAL"],
    );
    assert.deepStrictEqual(
      error.problems.flatMap(({ names }) => names),
      ["PORT", "LOG_LEVEL", "OPERATOR_URL", "BACKENDS", "DISCOVERY_INTERVAL"],
    );
  });

  it("keep a message to one line for each, whatever the value holds", () => {
    const lines = refused({
      LOG_LEVEL: "a\nPORT=1\u001b[31m\u009b31m\u2028",
      LB_ALGORITHM: "x".repeat(100_000),
    });
    assert.lengthOf(lines, 2);
    for (const line of lines) {
      assert.notMatch(line, /[\p{Cc}\p{Zl}]/u);
      assert.isBelow(line.length, 500);
    }
  });

  describe("whole numbers", () => {
    const ranges = [
      ["PORT", "port", 0, 65535],
      ["HEALTH_PORT", "healthPort", 0, 65535],
      ["HEALTH_CHECK_RISE", "healthCheckRise", 1, 1000],
      ["HEALTH_CHECK_FALL", "healthCheckFall", 1, 1000],
      ["CONNECT_RETRIES", "connectRetries", 0, 100],
    ] as const;

    for (const [name, field, least, most] of ranges) {
      it(`${name} is any from ${least} to ${most} and no other`, () => {
        FastCheck.assert(
          FastCheck.property(FastCheck.integer({ min: -70_000, max: 70_000 }), (value) => {
            // The other port, out of the way.
            const rest: Record<string, string> = name === "PORT" ? { HEALTH_PORT: "0" } : { PORT: "0" };
            const found = read({ ...rest, [name]: String(value) });
            if (value >= least && value <= most) assert.strictEqual(Either.getOrThrow(found)[field], value);
            else assert.isTrue(Either.isLeft(found));
          }),
          { examples: [[least], [least - 1], [most], [most + 1]] },
        );
      });

      it(`${name} is refused when it is no whole number`, () => {
        for (const value of [
          "1.5",
          "1e3",
          "0x10",
          "1_000",
          "1 2",
          "NaN",
          "Infinity",
          "ten",
          "99999999999999999999",
        ]) {
          refusedAlone(name, value);
        }
      });
    }
  });

  describe("choices", () => {
    it("are read whatever their case", () => {
      assert.strictEqual(accepted({ LOG_LEVEL: "WARNING" }).logLevel, LogLevel.Warning);
      assert.strictEqual(accepted({ LOG_LEVEL: "Warn" }).logLevel, LogLevel.Warning);
      assert.strictEqual(accepted({ LOG_LEVEL: "ERROR" }).logLevel, LogLevel.Error);
      assert.strictEqual(accepted({ LOG_LEVEL: "debug" }).logLevel, LogLevel.Debug);
      assert.strictEqual(accepted({ ENVIRONMENT: "Production" }).environment, "production");
      assert.strictEqual(accepted({ ENVIRONMENT: "staging" }).environment, "staging");
      assert.strictEqual(accepted({ LB_ALGORITHM: "Least-Connections" }).algorithm, "least-connections");
      assert.strictEqual(accepted({ LB_ALGORITHM: "ip-hash" }).algorithm, "ip-hash");
    });

    it("tell what could have been chosen", () => {
      assert.include(
        refusedAlone("LB_ALGORITHM", "fastest"),
        "accepted: round-robin, least-connections, ip-hash, random",
      );
      assert.include(refusedAlone("LOG_LEVEL", "trace"), "accepted: debug, info, warn, error, warning");
      assert.include(refusedAlone("ENVIRONMENT", "test"), "accepted: development, staging, production");
      refusedAlone("LOG_LEVEL", "constructor");
      refusedAlone("LOG_LEVEL", "__proto__");
    });
  });

  describe("durations", () => {
    const units: ReadonlyArray<readonly [string, number]> = [
      ["ms", 1],
      [" millis", 1],
      ["s", 1000],
      [" seconds", 1000],
      ["m", 60_000],
      [" minutes", 60_000],
      ["h", 3_600_000],
      ["d", 86_400_000],
      [" days", 86_400_000],
    ];
    const most = 20 * 86_400_000;

    it("are a number and a unit, from a millisecond to 20 days", () => {
      FastCheck.assert(
        FastCheck.property(
          FastCheck.constantFrom(...Object.entries(durations)),
          FastCheck.integer({ min: 0, max: 100_000 }),
          FastCheck.constantFrom(...units),
          ([name, field], count, [unit, millis]) => {
            const found = read({ [name]: `${count}${unit}` });
            const expected = count * millis;
            const fits = expected <= most && (expected > 0 || name === "DRAIN_TIMEOUT");
            assert.strictEqual(Either.isRight(found), fits);
            if (Either.isRight(found)) assert.strictEqual(Duration.toMillis(found.right[field]), expected);
          },
        ),
      );
    });

    it("may be fractions and singular", () => {
      assert.strictEqual(Duration.toMillis(accepted({ CONNECT_TIMEOUT: "1.5s" }).connectTimeout), 1500);
      assert.strictEqual(Duration.toMillis(accepted({ CONNECT_TIMEOUT: "1 second" }).connectTimeout), 1000);
      assert.strictEqual(Duration.toMillis(accepted({ CONNECT_TIMEOUT: "2S" }).connectTimeout), 2000);
    });

    it("print as what reads the same", () => {
      FastCheck.assert(
        FastCheck.property(FastCheck.integer({ min: 1, max: most }), (millis) => {
          const found = accepted({ DISCOVERY_TIMEOUT: `${millis}ms` });
          const again = accepted({ DISCOVERY_TIMEOUT: Settings.describe(found).DISCOVERY_TIMEOUT ?? "" });
          assert.strictEqual(Duration.toMillis(again.discoveryTimeout), millis);
        }),
      );
    });

    for (const name of Object.keys(durations)) {
      it(`${name} needs its unit and must make sense`, () => {
        assert.include(refusedAlone(name, "5"), "it has no unit (did you mean 5s or 5ms?)");
        for (const value of [
          "-1s",
          "-5 seconds",
          "-0.5s",
          "21d",
          "1000 weeks",
          "Infinity",
          "s",
          "5 parsecs",
          "1s 2s",
        ]) {
          refusedAlone(name, value);
        }
        if (name !== "DRAIN_TIMEOUT") {
          for (const value of ["0s", "0ms", "0 seconds", "-0s", "0.5ms", "1.5 nanos", "1 nano"])
            refusedAlone(name, value);
        }
      });
    }

    it("DRAIN_TIMEOUT may be zero", () => {
      assert.strictEqual(Duration.toMillis(accepted({ DRAIN_TIMEOUT: "0s" }).drainTimeout), 0);
    });
  });

  describe("addresses to listen on", () => {
    it("tell the default from a :: that was asked for", () => {
      assert.isUndefined(accepted({}).bindAddress);
      assert.strictEqual(accepted({ BIND_ADDRESS: "::" }).bindAddress, "::");
      assert.strictEqual(accepted({ HEALTH_BIND_ADDRESS: "127.0.0.1" }).healthBindAddress, "127.0.0.1");
    });

    it("are IP addresses", () => {
      for (const value of ["localhost", "[::1]", "10.0.0.300", "10.0.0.1:80", "*"]) {
        refusedAlone("BIND_ADDRESS", value);
        refusedAlone("HEALTH_BIND_ADDRESS", value);
      }
    });

    it("must differ where the ports do not", () => {
      const same = { PORT: "9000", HEALTH_PORT: "9000" };
      const clashes: ReadonlyArray<Record<string, string>> = [
        {},
        { BIND_ADDRESS: "127.0.0.1" },
        { BIND_ADDRESS: "::1", HEALTH_BIND_ADDRESS: "::" },
        { BIND_ADDRESS: "0.0.0.0", HEALTH_BIND_ADDRESS: "10.0.0.1" },
        { BIND_ADDRESS: "::1", HEALTH_BIND_ADDRESS: "0:0:0:0:0:0:0:1" },
        { BIND_ADDRESS: "127.0.0.1", HEALTH_BIND_ADDRESS: "::ffff:127.0.0.1" },
      ];
      for (const addresses of clashes) {
        const lines = refused({ ...same, ...addresses });
        assert.lengthOf(lines, 1);
        assert.include(lines[0], "PORT and HEALTH_PORT are both 9000");
      }
      accepted({ ...same, BIND_ADDRESS: "127.0.0.1", HEALTH_BIND_ADDRESS: "127.0.0.2" });
      accepted({ ...same, BIND_ADDRESS: "0.0.0.0", HEALTH_BIND_ADDRESS: "::1" });
      accepted({ PORT: "0", HEALTH_PORT: "0" });
      // The default of the one is as good a clash as any.
      assert.lengthOf(refused({ PORT: "8083" }), 1);
    });
  });

  describe("LB_THREADS", () => {
    it("is a number from 0 to 64, or auto", () => {
      assert.strictEqual(accepted({}).threads, 0);
      assert.strictEqual(accepted({ LB_THREADS: "64" }).threads, 64);
      assert.strictEqual(accepted({ LB_THREADS: "Auto" }).threads, "auto");
      for (const wrong of ["-1", "65", "two", "automatic"]) {
        assert.match(refused({ LB_THREADS: wrong }).join(), /LB_THREADS=.*from 0 to 64/);
      }
    });

    it("is refused with a transport that has no data threads", () => {
      const lines = refused({ LB_THREADS: "2", LB_TRANSPORT: "node" });
      assert.lengthOf(lines, 1);
      assert.include(lines[0], "LB_THREADS is 2 and LB_TRANSPORT is node, which has no data threads");
      for (const threads of ["0", "auto"]) accepted({ LB_THREADS: threads, LB_TRANSPORT: "node" });
      for (const transport of ["linux", "io_uring", "auto"])
        accepted({ LB_THREADS: "2", LB_TRANSPORT: transport });
    });
  });

  describe("OPERATOR_URL", () => {
    it("keeps a path prefix, and a trailing slash is harmless", () => {
      assert.strictEqual(accepted({ OPERATOR_URL: "https://host/a/b" }).operatorUrl.href, "https://host/a/b");
      assert.strictEqual(
        Settings.describe(accepted({ OPERATOR_URL: "http://host:81/a/" })).OPERATOR_URL,
        "http://host:81/a",
      );
    });

    it("is shown as it is when there is nothing to hide", () => {
      const shown = Settings.describe(accepted({ OPERATOR_URL: "http://[::1]:81/a@b" })).OPERATOR_URL;
      assert.strictEqual(shown, "http://[::1]:81/a@b");
    });

    it("is refused when it is no http or https URL, or has a query or a fragment", () => {
      for (const value of [
        "host:8080",
        "localhost",
        "ftp://host",
        "http:host",
        "http://",
        "http://ho st",
        "//host",
      ]) {
        refusedAlone("OPERATOR_URL", value);
      }
      for (const value of ["http://host/?a=b", "http://host/?", "http://host/#a", "http://host#"]) {
        assert.lengthOf(refused({ OPERATOR_URL: value }), 1);
      }
    });

    it("never shows its credentials, right or wrong", () => {
      const right = accepted({ OPERATOR_URL: "http://user:s3cret@host/a" });
      assert.strictEqual(right.operatorUrl.password, "s3cret");
      assert.strictEqual(Settings.describe(right).OPERATOR_URL, "http://***@host/a");
      for (const value of [
        "ftp://user:s3cret@host",
        "user:s3cret@host",
        "http://user:a/s3cret@host?x",
        "http://user:s3cret@ho@st#",
        "http://host/?key=s3cret",
        "http://host/#s3cret",
      ]) {
        assert.notInclude(refused({ OPERATOR_URL: value }).join(), "s3cret");
      }
    });

    it("cannot carry credentials beside a token", () => {
      const lines = refused({ OPERATOR_URL: "http://user:s3cret@host", OPERATOR_TOKEN: "t0ken" });
      assert.lengthOf(lines, 1);
      assert.include(lines[0], "OPERATOR_URL carries credentials and OPERATOR_TOKEN is set");
      assert.notMatch(lines.join(), /s3cret|t0ken/);
    });
  });

  it("ADMIN_TOKEN has at least 16 characters, and is shown nowhere", () => {
    const found = accepted({ ADMIN_TOKEN: "0123456789abcdef" });
    assert.strictEqual(found.adminToken && Redacted.value(found.adminToken), "0123456789abcdef");
    assert.strictEqual(Settings.describe(found)["ADMIN_TOKEN"], "<redacted>");
    const [line = ""] = refused({ ADMIN_TOKEN: "0123456789abcde" });
    assert.include(line, "it is shorter than 16 characters");
    assert.notInclude(line, "0123456789abcde");
  });

  describe("OpenTelemetry", () => {
    it("takes headers as OpenTelemetry writes them, and shows none of them", () => {
      const found = accepted({
        OTEL_EXPORTER_OTLP_HEADERS: "authorization=Bearer%20s3cret, x-team = a%2Cb ,empty=",
      });
      assert.deepStrictEqual(found.otlpHeaders && Redacted.value(found.otlpHeaders), {
        authorization: "Bearer s3cret",
        "x-team": "a,b",
        empty: "",
      });
      assert.strictEqual(Settings.describe(found).OTEL_EXPORTER_OTLP_HEADERS, "<redacted>");
      for (const value of ["s3cret", "a b=s3cret", "x=s3cret,", "x=%E0%A4%A", "x=s3cret%0a"]) {
        const line = ignored({ OTEL_EXPORTER_OTLP_HEADERS: value });
        assert.include(line, "OTEL_EXPORTER_OTLP_HEADERS=<redacted>: ");
        assert.notInclude(line, "s3cret");
      }
    });

    it("takes a part from none to all", () => {
      for (const [text, value] of [
        ["0", 0],
        ["1", 1],
        ["0.25", 0.25],
        [".5", 0.5],
      ] as const) {
        assert.strictEqual(accepted({ OTEL_TRACES_SAMPLER_ARG: text }).otlpSampling, value);
      }
      for (const text of ["1.01", "-0.1", "half", "5%", "1e-3"])
        assert.include(
          ignored({ OTEL_TRACES_SAMPLER_ARG: text }),
          `OTEL_TRACES_SAMPLER_ARG=${JSON.stringify(text)}: `,
        );
    });

    it("shows no credentials of the collector's URL", () => {
      const found = accepted({ OTEL_EXPORTER_OTLP_ENDPOINT: "https://user:s3cret@collector:4318/prefix/" });
      assert.strictEqual(
        Settings.describe(found).OTEL_EXPORTER_OTLP_ENDPOINT,
        "https://***@collector:4318/prefix",
      );
      for (const text of ["collector:4318", "ftp://user:s3cret@collector", "http://collector?key=s3cret"]) {
        assert.notInclude(ignored({ OTEL_EXPORTER_OTLP_ENDPOINT: text }), "s3cret");
      }
    });

    it("never stops the start: what is wrong is ignored with a warning", () => {
      for (const [name, text] of [
        ["OTEL_SDK_DISABLED", "yes"],
        ["OTEL_TRACES_SAMPLER", "jaeger_remote"],
        ["OTEL_TRACES_SAMPLER_ARG", "100"],
        ["OTEL_SERVICE_NAME", "x".repeat(256)],
      ] as const) {
        assert.include(ignored({ [name]: text }), `${name}="`);
      }
      // So it is as an effect Config, which has no place for warnings.
      const read = Settings.config.pipe(
        Effect.withConfigProvider(ConfigProvider.fromMap(new Map([["OTEL_TRACES_SAMPLER_ARG", "100"]]))),
      );
      assert.deepStrictEqual(Effect.runSync(read), Settings.defaults);
    });

    it("is switched off by OTEL_SDK_DISABLED, and samples as OTEL_TRACES_SAMPLER says", () => {
      assert.isTrue(accepted({ OTEL_SDK_DISABLED: "True" }).otlpDisabled);
      assert.isFalse(accepted({ OTEL_SDK_DISABLED: "" }).otlpDisabled);
      assert.strictEqual(accepted({ OTEL_TRACES_SAMPLER: "always_on" }).otlpSampler, "all");
      assert.strictEqual(accepted({ OTEL_TRACES_SAMPLER: "parentbased_always_off" }).otlpSampler, "none");
      assert.strictEqual(accepted({ OTEL_TRACES_SAMPLER: "parentbased_traceidratio" }).otlpSampler, "ratio");
    });
  });

  describe("OPERATOR_TOKEN", () => {
    it("is never shown", () => {
      const found = accepted({ OPERATOR_TOKEN: " t0ken " });
      assert.strictEqual(found.operatorToken && Redacted.value(found.operatorToken), "t0ken");
      assert.strictEqual(Settings.describe(found).OPERATOR_TOKEN, "<redacted>");
      assert.notInclude(JSON.stringify(found), "t0ken");
    });

    it("is refused, unseen, when it does not fit in a header", () => {
      for (const value of ["t0ken\r\nx: y", "t0ken\nb", "t0ken\u0000b", "t0kén", "t0ken\tb"]) {
        const [line = "", ...others] = refused({ OPERATOR_TOKEN: value });
        assert.deepStrictEqual(others, []);
        assert.include(line, "OPERATOR_TOKEN=<redacted>: ");
        assert.notInclude(line, "t0k");
      }
    });
  });

  describe("ALLOW_CLIENTS and DENY_CLIENTS", () => {
    /** A file with this text, for as long as the callback runs. */
    const withFile = (text: string, use: (path: string) => void): void => {
      const folder = mkdtempSync(join(tmpdir(), "clients-"));
      try {
        writeFileSync(join(folder, "list"), text);
        use(join(folder, "list"));
      } finally {
        rmSync(folder, { recursive: true });
      }
    };

    it("are addresses and CIDRs, of both families", () => {
      const found = accepted({ DENY_CLIENTS: "192.0.2.7, 10.0.0.0/8 ,2001:db8::/32" });
      const has = (host: string) => found.denyClients?.has(host);
      assert.deepStrictEqual(
        ["192.0.2.7", "192.0.2.8", "10.9.9.9", "2001:db8:5::1", "2001:db9::1"].map(has),
        [true, false, true, true, false],
      );
      assert.strictEqual(Settings.describe(found).DENY_CLIENTS, "192.0.2.7, 10.0.0.0/8 ,2001:db8::/32");
      assert.isUndefined(found.allowClients);
    });

    it("are named one by one where they are wrong", () => {
      const line = refusedAlone("ALLOW_CLIENTS", "10.0.0.0/8,,office,10.0.0.1/8");
      for (const wrong of ["item 2 of 4: ", '"office": it is not an IP address', "did you mean 10.0.0.0/8"]) {
        assert.include(line, wrong);
      }
    });

    it("may stand in a file, one on each line, with comments", () => {
      withFile("# the office\n10.0.0.0/8 # all of it\r\n\n  2001:db8::/32\n10.0.0.0/8", (path) => {
        const found = accepted({ ALLOW_CLIENTS: `@${path}` });
        assert.isTrue(found.allowClients?.has("10.1.1.1") && found.allowClients.has("2001:db8::1"));
        assert.strictEqual(Settings.describe(found).ALLOW_CLIENTS, `@${path}`);
      });
    });

    it("are refused with their line where the file is wrong", () => {
      withFile("10.0.0.0/8\n# fine\n10.0.0.300\n10.0.0.1,10.0.0.2\n", (path) => {
        const line = refusedAlone("ALLOW_CLIENTS", `@${path}`);
        assert.include(line, `${path} line 3: "10.0.0.300": it is not an IP address`);
        assert.include(line, `${path} line 4: "10.0.0.1,10.0.0.2": it is not an IP address`);
      });
    });

    it("are refused where the file cannot be read: it is missing, is none, or has a path that depends on the place", () => {
      assert.include(
        refusedAlone("DENY_CLIENTS", "@/nowhere/clients"),
        "/nowhere/clients cannot be read (ENOENT)",
      );
      assert.include(refusedAlone("DENY_CLIENTS", "@/"), "/ is not a file");
      assert.include(refusedAlone("DENY_CLIENTS", "@clients"), "does not begin with /");
    });

    it("may be an empty file where that denies nobody, and not where it would deny everybody", () => {
      withFile("# nobody yet\n", (path) => {
        assert.isFalse(accepted({ DENY_CLIENTS: `@${path}` }).denyClients?.has("10.0.0.1"));
        assert.include(refusedAlone("ALLOW_CLIENTS", `@${path}`), `${path} has no entries`);
      });
    });
  });

  describe("SOURCE_ADDRESSES", () => {
    it("is a list of addresses, each once", () => {
      const found = accepted({ SOURCE_ADDRESSES: "10.0.0.2, 2001:DB8::1 ,::ffff:10.0.0.3,fe80::1%eth0" });
      assert.deepStrictEqual(found.sourceAddresses, ["10.0.0.2", "2001:db8::1", "10.0.0.3", "fe80::1%eth0"]);
      assert.strictEqual(
        Settings.describe(found).SOURCE_ADDRESSES,
        "10.0.0.2,2001:db8::1,10.0.0.3,fe80::1%eth0",
      );
      for (const [text, why] of [
        ["10.0.0.2,", '"" is not an IP address'],
        ["10.0.0.2/31", "is not an IP address"],
        ["eth0", "is not an IP address"],
        ["10.0.0.2,::ffff:10.0.0.2", "is there twice"],
        ["0.0.0.0", "is every address"],
        ["::", "is every address"],
        [Array.from({ length: 65 }, (_, i) => `10.0.0.${i + 1}`).join(","), "there are more than 64"],
      ] as const) {
        const [line = ""] = refused({ SOURCE_ADDRESSES: text });
        assert.include(line, why);
      }
    });
  });

  describe("STATE_FILE", () => {
    it("is an absolute path of a file", () => {
      const path = "/var/lib/balancer/state of today.json";
      assert.strictEqual(accepted({ STATE_FILE: path }).stateFile, path);
      assert.include(refusedAlone("STATE_FILE", "state.json"), "it is not absolute");
      assert.include(refusedAlone("STATE_FILE", "/var/lib/"), "it is a folder");
      assert.include(refusedAlone("STATE_FILE", "/a\u0007b"), "characters that cannot be printed");
      refused({ STATE_FILE: `/${"a".repeat(4_095)}` });
    });
  });

  describe("MAX_CONNECTION_RATE_PER_CLIENT", () => {
    it("is a number in each second or minute", () => {
      for (const [text, value, shown] of [
        ["20/s", { count: 20, per: "second" }, "20/s"],
        ["600/M", { count: 600, per: "minute" }, "600/m"],
      ] as const) {
        const found = accepted({ MAX_CONNECTION_RATE_PER_CLIENT: text });
        assert.deepStrictEqual(found.maxConnectionRatePerClient, value);
        assert.strictEqual(Settings.describe(found).MAX_CONNECTION_RATE_PER_CLIENT, shown);
      }
      for (const text of ["20", "0/s", "1000001/s", "20/h", "-1/s", "1.5/s", "/s", "20 /s"]) {
        refusedAlone("MAX_CONNECTION_RATE_PER_CLIENT", text);
      }
    });
  });

  describe("BACKENDS", () => {
    it("takes nginx's words behind an address, and shows what it has read", () => {
      const text =
        "10.0.0.1:3000 weight=3 max_connections=100, web.internal:80  max_conns=7\tbackup ,[::1]:81 weight=0";
      assert.deepStrictEqual(accepted({ BACKENDS: text }).backends, [
        { host: "10.0.0.1", port: 3000, weight: 3, limit: 100 },
        { host: "web.internal", port: 80, limit: 7, role: "backup" },
        { host: "::1", port: 81, weight: 0 },
      ]);
      assert.strictEqual(
        Settings.describe(accepted({ BACKENDS: text })).BACKENDS,
        "10.0.0.1:3000 weight=3 max_connections=100,web.internal:80 max_connections=7 backup,[::1]:81 weight=0",
      );
    });

    it.each([
      ["weight=257", /weight has to be a whole number from 0 to 256/],
      ["weight=-1", /weight has to be/],
      ["weight=1.5", /weight has to be/],
      ["weight=", /weight has to be/],
      ["max_connections=0", /max_connections has to be a whole number from 1 to 1000000/],
      ["max_conns=x", /max_conns has to be/],
      ["weight=1 weight=2", /says it twice/],
      ["max_conns=1 max_connections=2", /says it twice/],
      ["down", /is none of weight=, max_connections= and backup/],
      ["backup=1", /is none of/],
      ["weight", /is none of/],
    ])("refuses %s behind an address, and says why", (words, why) => {
      assert.match(refusedAlone("BACKENDS", `10.0.0.1:80 ${words},10.0.0.2:80`), why);
    });

    it("are addresses and names with their ports", () => {
      assert.deepStrictEqual(
        accepted({ BACKENDS: "10.0.0.1:80, [2001:db8::5]:3000 ,web.internal:81,10.0.0.1:81" }).backends,
        [
          { host: "10.0.0.1", port: 80 },
          { host: "2001:db8::5", port: 3000 },
          { host: "web.internal", port: 81 },
          { host: "10.0.0.1", port: 81 },
        ],
      );
      assert.strictEqual(
        Settings.describe(accepted({ BACKENDS: "10.0.0.1:80,[::1]:3000" })).BACKENDS,
        "10.0.0.1:80,[::1]:3000",
      );
    });

    it("name each wrong item", () => {
      const line = refusedAlone("BACKENDS", "10.0.0.1:80,,10.0.0.2,10.0.0.300:80,10.0.0.1:080,a:99999");
      for (const wrong of [
        "item 2 of 6 is empty",
        '"10.0.0.2": it is not host:port',
        '"10.0.0.300:80": 10.0.0.300 is neither',
        '"10.0.0.1:080" is there twice',
        '"a:99999": port 99999 is not between',
      ]) {
        assert.include(line, wrong);
      }
    });

    it("are refused when two spellings lead to one place, or an item is missing", () => {
      refusedAlone("BACKENDS", "10.0.0.1:80 backup,10.0.0.1:80");
      refusedAlone("BACKENDS", "WEB:80,web:80");
      refusedAlone("BACKENDS", "[::1]:80,[0:0::1]:80");
      refusedAlone("BACKENDS", "10.0.0.1:80,");
      refusedAlone("BACKENDS", ",");
    });
  });
});
