import { assert, describe, it } from "@effect/vitest";
import { FastCheck } from "effect";
import { isDead } from "../../../src/transport/linux/DeadPeer.js";
import { Relay } from "../../../src/transport/linux/Relay.js";
import type { TcpInfo } from "../../../src/transport/linux/TcpInfo.js";
import type { RelayOutcome } from "../../../src/transport/Transport.js";
import { simulated } from "./simulation/Simulated.js";

const established = 1;

/** Nothing in flight, and an acknowledgement just now. */
const well: TcpInfo = {
  state: established,
  sinceDataMillis: 0,
  sinceAckMillis: 0,
  unacked: 0,
  retransmits: 0,
  probes: 0,
};

describe("the rule for a dead peer", () => {
  it.each<[string, Partial<TcpInfo>, boolean]>([
    ["idle for an hour, with nothing in flight", { sinceAckMillis: 3_600_000 }, false],
    ["data in flight, retransmitted", { sinceAckMillis: 120_000, unacked: 1, retransmits: 8 }, true],
    ["the same a moment earlier", { sinceAckMillis: 119_999, unacked: 1, retransmits: 8 }, false],
    ["data in flight for the first time", { sinceAckMillis: 300_000, unacked: 3 }, false],
    ["a window shut for ten minutes, each probe answered", { sinceAckMillis: 100_000, probes: 0 }, false],
    ["a window shut, and one probe on its way", { sinceAckMillis: 121_000, probes: 1 }, false],
    ["a window shut, and two probes unanswered", { sinceAckMillis: 150_000, probes: 2 }, true],
    ["back after a minute", { sinceAckMillis: 60_000, unacked: 4, retransmits: 7 }, false],
    ["still being connected to", { state: 2, sinceAckMillis: 200_000, unacked: 1, retransmits: 6 }, false],
  ])("%s", (_case, info, expected) => {
    assert.strictEqual(isDead({ ...well, ...info }), expected);
  });

  it("never takes one for dead that has acknowledged something within two minutes", () => {
    const any = FastCheck.record({
      state: FastCheck.integer({ min: 1, max: 12 }),
      sinceDataMillis: FastCheck.nat(),
      sinceAckMillis: FastCheck.integer({ min: 0, max: 119_999 }),
      unacked: FastCheck.nat(),
      retransmits: FastCheck.nat(255),
      probes: FastCheck.nat(255),
    });
    FastCheck.assert(FastCheck.property(any, (info) => !isDead(info)));
  });
});

describe("a relay whose peer is dead", () => {
  const relayed = () => {
    let looks = 0;
    const { engine, kernel, pair } = simulated((libc) => ({
      connectionInfo: (fd, info) => {
        looks += 1;
        return libc.connectionInfo(fd, info);
      },
    }));
    const { backend, client, from, to } = pair();
    const outcomes: Array<RelayOutcome> = [];
    new Relay(from, to, { received: 0, sent: 0 }, (outcome) => outcomes.push(outcome)).start();
    // The deadline of the connect, which is over: from here on there is only the timer of the rounds.
    while (kernel.timers > 1) kernel.pass();
    return {
      backend,
      client,
      engine,
      kernel,
      outcomes,
      from,
      to,
      looks: () => looks,
      /** Lets so many rounds go by, two seconds each. */
      rounds: (count: number): void => {
        for (let i = 0; i < count; i++) {
          kernel.pass();
          while (kernel.turn()) {}
        }
      },
    };
  };
  const lost = { ...well, sinceAckMillis: 130_000, unacked: 1, retransmits: 9 };

  for (const side of ["client", "backend"] as const) {
    it(`ends as after a reset of the ${side}, and resets the other side`, () => {
      const { backend, client, engine, kernel, outcomes, from, to, rounds } = relayed();
      kernel.inform(side === "client" ? from.fd : to.fd, lost);
      rounds(59);
      assert.deepStrictEqual(outcomes, []);
      rounds(2);
      assert.deepStrictEqual(
        outcomes.map(({ end }) => end),
        [`${side}-reset`],
      );
      assert.isTrue((side === "client" ? backend : client).resetArrived);
      engine.shutdown();
      assert.strictEqual(kernel.open, 0);
    });
  }

  it("is looked at only after two minutes without a byte from it, and then every ten seconds", () => {
    const { client, kernel, looks, outcomes, rounds } = relayed();
    rounds(59);
    assert.strictEqual(looks(), 0);
    rounds(1);
    assert.strictEqual(looks(), 2);
    rounds(4);
    assert.strictEqual(looks(), 2);
    rounds(1);
    assert.strictEqual(looks(), 4);
    // The client says something: only its backend is still silent.
    client.wire?.deliver(client.stream, 0, 1);
    while (kernel.turn()) {}
    rounds(5);
    assert.strictEqual(looks(), 5);
    assert.deepStrictEqual(outcomes, []);
  });

  it("is left alone when its answer came between two looks, as after a pause of the whole host", () => {
    const { from, kernel, outcomes, rounds } = relayed();
    kernel.inform(from.fd, lost);
    rounds(60);
    kernel.inform(from.fd, { ...well, sinceAckMillis: 40 });
    rounds(120);
    assert.deepStrictEqual(outcomes, []);
  });

  it("is left alone while it keeps its window shut and answers probes", () => {
    const { from, kernel, outcomes, rounds } = relayed();
    for (let i = 0; i < 300; i++) {
      kernel.inform(from.fd, { ...well, sinceAckMillis: (i * 2_000) % 30_000, probes: i % 2 });
      rounds(1);
    }
    assert.deepStrictEqual(outcomes, []);
  });
});
