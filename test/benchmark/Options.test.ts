import { Either } from "effect";
import { describe, expect, it } from "vitest";
import { parse, peerNames, workloadNames } from "../bench/Options.js";

const wrong = (...args: ReadonlyArray<string>) => Either.getOrUndefined(Either.flip(parse(args)));

describe("the options of the benchmark", () => {
  it("measures everything five times when asked for nothing", () => {
    expect(parse([])).toEqual(
      Either.right({
        only: workloadNames,
        peers: peerNames,
        rounds: 5,
        seconds: 4,
        threads: 0,
        json: undefined,
        svg: undefined,
        balancer: undefined,
        before: undefined,
      }),
    );
  });

  it("takes a choice of workloads and peers, in whatever order and each once", () => {
    const options = Either.getOrThrow(parse(["--only", "bulk, keepalive,bulk", "--peers=node,haproxy"]));
    expect(options).toMatchObject({ only: ["keepalive", "bulk"], peers: ["haproxy", "node"] });
  });

  it("takes another build", () => {
    expect(parse(["--balancer", "../other/load-balancer"])).toMatchObject({
      right: { balancer: "../other/load-balancer" },
    });
  });

  it("measures the build before a change beside this one", () => {
    const options = Either.getOrThrow(parse(["--peers", "linux", "--before", "../old/load-balancer"]));
    expect(options).toMatchObject({ peers: ["linux", "before"], before: "../old/load-balancer" });
  });

  it.each([
    [["--only", "bulky"], "bulky", "keepalive, connections, bulk"],
    [["--peers", "envoy"], "envoy", "haproxy"],
    [["--rounds", "0"], '"0"', "1 to 100"],
    [["--rounds", "2.5"], '"2.5"', "whole number"],
    [["--rounds", "many"], '"many"', "whole number"],
    [["--threads", "65"], '"65"', "0 to 64"],
    [["--seconds", "0.5"], '"0.5"', "1 to 600"],
    [["--seconds", "1.5"], '"1.5"', "whole number"],
    [["--json", ""], "--json", "name of a file"],
    [["--fast"], "--fast", "--help"],
    [["stray"], "stray", "--help"],
  ])("says on one line what is wrong with %j", (args, value, cure) => {
    const message = wrong(...args);
    expect(message).toContain(value);
    expect(message).toContain(cure);
    expect(message).not.toContain("\n");
  });
});
