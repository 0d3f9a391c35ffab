import { assert, describe, it } from "@effect/vitest";
import { FastCheck as fc } from "effect";
import {
  EAGAIN,
  ECONNABORTED,
  EINTR,
  EMFILE,
  ENFILE,
  ENOBUFS,
  ENOMEM,
  errnoName,
  type Result,
} from "../../../src/transport/linux/Libc.js";
import { Places } from "../../../src/transport/Places.js";
import type { Connection } from "../../../src/transport/Transport.js";
import type { Kernel } from "./simulation/Kernel.js";
import { simulated } from "./simulation/Simulated.js";

describe("Acceptor", () => {
  it("takes 64 in one turn, and leaves the rest to the next ones", () => {
    let accepted = 0;
    const { kernel, listen } = simulated();
    const { connect } = listen((connection) => {
      accepted += 1;
      connection.reset();
    });
    for (let i = 0; i < 150; i++) connect();
    const turns = [1, 2, 3, 4].map(() => {
      kernel.turn();
      return accepted;
    });
    assert.deepStrictEqual(turns, [64, 128, 150, 150]);
  });

  it("stops in the middle of a batch when it is closed there", () => {
    let accepted = 0;
    const { kernel, listen } = simulated();
    const { acceptor, connect } = listen((connection) => {
      accepted += 1;
      connection.reset();
      acceptor.close();
    });
    for (let i = 0; i < 3; i++) connect();
    kernel.turn();
    assert.strictEqual(accepted, 1);
  });

  it("accepts who waits before it closes, by 64 in a turn", () => {
    let accepted = 0;
    let closed = 0;
    const { engine, kernel, listen } = simulated();
    const { acceptor, connect } = listen((connection) => {
      accepted += 1;
      connection.reset();
    });
    for (let i = 0; i < 150; i++) connect();
    acceptor.drain(4_096, () => {
      closed += 1;
    });
    assert.deepStrictEqual([accepted, closed], [64, 0]);
    for (let i = 0; i < 4; i++) kernel.turn();
    assert.deepStrictEqual([accepted, closed], [150, 1]);
    engine.shutdown();
    assert.strictEqual(kernel.open, 0);
  });

  it("closes after as many as its queue can hold, though more come all the time", () => {
    let accepted = 0;
    let closed = false;
    const { kernel, listen } = simulated();
    const { acceptor, connect } = listen((connection) => {
      accepted += 1;
      connection.reset();
      connect();
    });
    connect();
    acceptor.drain(100, () => {
      closed = true;
    });
    for (let i = 0; i < 4; i++) kernel.turn();
    assert.isTrue(closed);
    assert.strictEqual(accepted, 101);
  });

  it("closes at once where nothing more can be accepted", () => {
    let closed = false;
    const { listen } = simulated(() => ({ accept: () => -EMFILE }));
    const { acceptor, connect } = listen(() => {});
    connect();
    acceptor.drain(4_096, () => {
      closed = true;
    });
    assert.isTrue(closed);
  });

  for (const errno of [EMFILE, ENFILE, ENOBUFS, ENOMEM]) {
    it(`asks again after ${errnoName(errno)} ever later, and at first soon again once there was success`, () => {
      let answer: Result = -errno;
      const asked: Array<number> = [];
      const told: Array<string> = [];
      const { kernel, listen } = simulated((libc) => ({
        accept: (fd, address) => {
          if (answer === 0) return libc.accept(fd, address);
          asked.push(kernel.hostLoop.now());
          return answer;
        },
      }));
      let accepted = 0;
      const { connect } = listen(
        (connection) => {
          accepted += 1;
          connection.reset();
        },
        ({ code }) => told.push(code),
      );
      connect();
      const go = (tries: number): ReadonlyArray<number> => {
        asked.length = 0;
        while (asked.length < tries) {
          // However often the loop turns, it does not ask before its time.
          for (let i = 0; i < 5; i++) kernel.turn();
          if (asked.length < tries) kernel.pass();
        }
        return asked.map((at) => at - (asked[0] ?? 0));
      };
      assert.deepStrictEqual(go(10), [0, 10, 30, 70, 150, 310, 630, 1_270, 2_270, 3_270]);
      assert.deepStrictEqual(told, Array<string>(10).fill(errnoName(errno)));
      answer = 0;
      while (accepted === 0) {
        kernel.pass();
        kernel.turn();
      }
      answer = -errno;
      connect();
      assert.deepStrictEqual(go(3), [0, 10, 30]);
    });
  }

  describe("where as many clients are there as can be", () => {
    /** Time goes by until it looks for clients again, which it does at most a second later. */
    const waited = (kernel: Kernel, millis: number): void => {
      const until = kernel.hostLoop.now() + millis;
      while (kernel.hostLoop.now() < until && kernel.pass()) kernel.turn();
    };

    const full = (capacity: number, descriptors = 1_000) => {
      const served: Array<Connection> = [];
      const refused: Array<{ readonly at: number }> = [];
      const setting = simulated(() => ({}), { capacity, descriptors });
      const listener = setting.listen(
        (connection) => served.push(connection),
        () => {},
        () => refused.push({ at: setting.kernel.hostLoop.now() }),
      );
      return { ...setting, ...listener, served, refused };
    };

    it("lets those who come then wait for ten seconds, and then refuses some, ever more each time", () => {
      const { connect, kernel, refused, served } = full(2);
      const clients = Array.from({ length: 40 }, () => connect());
      kernel.turn();
      waited(kernel, 9_500);
      assert.deepStrictEqual([served.length, refused.length], [2, 0]);
      while (refused.length < 15) waited(kernel, 1);
      const atOnce = new Map<number, number>();
      for (const { at } of refused) atOnce.set(at, (atOnce.get(at) ?? 0) + 1);
      assert.deepStrictEqual([...atOnce.values()], [1, 2, 4, 8]);
      assert.isAtMost(kernel.hostLoop.now(), 15_000);
      assert.deepStrictEqual(
        clients.map(({ resetArrived }) => resetArrived),
        clients.map((_, place) => place >= 2 && place < 17),
      );
    });

    it("gives the place of one who leaves to the next who waits, and refuses nobody", () => {
      const { connect, kernel, refused, served } = full(2);
      for (let i = 0; i < 20; i++) connect();
      kernel.turn();
      // Longer in all than anybody would wait without that.
      while (served.length < 12) {
        waited(kernel, 9_000);
        served[served.length - 2]?.close();
        waited(kernel, 1);
      }
      assert.lengthOf(refused, 0);
    });

    it("accepts one to refuse it where the process has no descriptor left", () => {
      // The engine's, the listener's and its spare one, and one for each client.
      const { acceptor, connect, engine, kernel, refused, served } = full(1_000, 6);
      for (let i = 0; i < 10; i++) connect();
      kernel.turn();
      assert.deepStrictEqual([served.length, kernel.open], [3, 6]);
      while (refused.length < 3) waited(kernel, 1_000);
      // The spare one is there again.
      assert.deepStrictEqual([served.length, kernel.open], [3, 6]);
      acceptor.close();
      for (const connection of served) connection.close();
      engine.shutdown();
      assert.deepStrictEqual([engine.clients, kernel.open], [0, 0]);
    });

    it("closes the pipes that nobody uses where the process has no descriptor left, and serves who waits", () => {
      const { connect, engine, kernel, refused, served } = full(1_000, 24);
      const holder = { giveBack: () => false };
      const pipes = Array.from({ length: 8 }, () => engine.pipes.acquire(holder));
      for (const pipe of pipes) if (pipe !== undefined) engine.pipes.release(pipe);
      // Three of its own, and two for each of the eight.
      assert.strictEqual(kernel.open, 19);
      for (let i = 0; i < 20; i++) connect();
      kernel.turn();
      assert.lengthOf(served, 5);
      waited(kernel, 100);
      assert.deepStrictEqual([served.length, refused.length], [20, 0]);
    });

    it("resets one whose refusal throws", () => {
      const { kernel, listen } = simulated(() => ({}), { capacity: 1 });
      const { connect } = listen(
        () => {},
        () => {},
        () => {
          throw new Error("a test");
        },
      );
      connect();
      const client = connect();
      kernel.turn();
      assert.throws(() => waited(kernel, 20_000), "a test");
      assert.isTrue(client.resetArrived);
    });
  });

  describe("where as many clients are there as there may be", () => {
    const waited = (kernel: Kernel, millis: number): void => {
      const until = kernel.hostLoop.now() + millis;
      while (kernel.hostLoop.now() < until && kernel.pass()) kernel.turn();
    };

    const limited = (most: number) => {
      const served: Array<Connection> = [];
      const refused: Array<number> = [];
      const told: Array<number> = [];
      const setting = simulated();
      const places = new Places(most);
      const listener = setting.listen(
        (connection) => served.push(connection),
        ({ code }) => assert.fail(code),
        () => refused.push(setting.kernel.hostLoop.now()),
        places,
        () => told.push(setting.kernel.hostLoop.now()),
      );
      return { ...setting, ...listener, places, served, refused, told };
    };

    it("serves the next who waits in the moment in which one leaves, however many leave at once", () => {
      const { connect, kernel, places, served, told } = limited(3);
      for (let i = 0; i < 3; i++) connect();
      kernel.turn();
      assert.deepStrictEqual([served.length, told.length], [3, 0]);
      for (let i = 0; i < 9; i++) connect();
      kernel.turn();
      assert.deepStrictEqual([served.length, told.length], [3, 1]);
      const at = kernel.hostLoop.now();
      served[0]?.reset();
      kernel.turn();
      assert.strictEqual(served.length, 4);
      for (const gone of served.slice(1, 4)) gone.close();
      kernel.turn();
      assert.deepStrictEqual([served.length, places.taken], [7, 3]);
      // No time has passed.
      assert.strictEqual(kernel.hostLoop.now(), at);
    });

    it("never has more than that, and loses no place, whoever comes and goes when", () => {
      fc.assert(
        fc.property(
          fc.integer({ min: 1, max: 5 }),
          fc.array(fc.oneof(fc.constant("come"), fc.constant("turn"), fc.nat(4))),
          (most, steps) => {
            const { connect, engine, kernel, places, served } = limited(most);
            const open: Array<Connection> = [];
            let [came, taken] = [0, 0];
            const take = (): void => {
              while (taken < served.length) open.push(served[taken++] as Connection); // it was served
              assert.isAtMost(open.length, most);
              assert.strictEqual(places.taken, open.length);
            };
            for (const step of steps) {
              if (step === "come") {
                connect();
                came += 1;
              } else if (step === "turn") kernel.turn();
              else open.splice(Number(step), 1)[0]?.reset();
              take();
            }
            for (let i = 0; i <= came && served.length < came; i++) {
              kernel.turn();
              take();
              for (const connection of open.splice(0)) connection.reset();
            }
            assert.strictEqual(served.length, came);
            engine.shutdown();
          },
        ),
        { numRuns: 200 },
      );
    });

    it("lets who waits do so for ten seconds in which nobody leaves, and then refuses some, ever more each time", () => {
      const { connect, kernel, refused, served } = limited(2);
      const clients = Array.from({ length: 40 }, () => connect());
      kernel.turn();
      waited(kernel, 9_000);
      assert.deepStrictEqual([served.length, refused.length], [2, 0]);
      while (refused.length < 15) waited(kernel, 1);
      const atOnce = new Map<number, number>();
      for (const at of refused) atOnce.set(at, (atOnce.get(at) ?? 0) + 1);
      assert.deepStrictEqual([...atOnce.values()], [1, 2, 4, 8]);
      assert.isAtMost(kernel.hostLoop.now(), 15_000);
      assert.deepStrictEqual(
        clients.map(({ resetArrived }) => resetArrived),
        clients.map((_, place) => place >= 2 && place < 17),
      );
    });

    it("refuses nobody while clients leave, and another listener's clients do not count", () => {
      const { connect, kernel, listen, refused, served } = limited(1);
      const others: Array<Connection> = [];
      const other = listen((connection) => others.push(connection));
      connect();
      connect();
      other.connect();
      kernel.turn();
      assert.deepStrictEqual([served.length, others.length], [1, 1]);
      for (let i = 0; i < 5; i++) {
        waited(kernel, 9_000);
        served.at(-1)?.reset();
        connect();
        waited(kernel, 1);
      }
      assert.lengthOf(served, 6);
      assert.lengthOf(refused, 0);
    });

    it("closed while it waits for a place it asks no more, and who leaves then wakes nobody", () => {
      const { acceptor, connect, engine, kernel, served } = limited(1);
      connect();
      connect();
      kernel.turn();
      acceptor.close();
      served[0]?.reset();
      kernel.turn();
      assert.lengthOf(served, 1);
      engine.shutdown();
      assert.deepStrictEqual([kernel.timers, kernel.open], [0, 0]);
    });
  });

  it("goes on at once after an error that was the connection's alone", () => {
    const answers: Array<Result> = [-ECONNABORTED, -EINTR];
    let accepted = 0;
    const { kernel, listen } = simulated((libc) => ({
      accept: (fd, address) => answers.shift() ?? libc.accept(fd, address),
    }));
    const { connect } = listen(
      (connection) => {
        accepted += 1;
        connection.reset();
      },
      ({ code }) => assert.fail(code),
    );
    connect();
    kernel.turn();
    assert.strictEqual(accepted, 1);
  });

  it("tells no error of a queue that is empty", () => {
    const { kernel, listen } = simulated(() => ({ accept: () => -EAGAIN }));
    const { connect } = listen(
      () => assert.fail("nobody came"),
      ({ code }) => assert.fail(code),
    );
    connect();
    kernel.turn();
  });

  it("closed while it pauses it asks no more", () => {
    const { engine, kernel, listen } = simulated(() => ({ accept: () => -EMFILE }));
    const { acceptor, connect } = listen(() => {});
    connect();
    kernel.turn();
    acceptor.close();
    acceptor.close();
    engine.shutdown();
    assert.strictEqual(kernel.timers, 0);
    assert.strictEqual(kernel.open, 0);
  });
});
