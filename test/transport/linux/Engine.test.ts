import { assert, describe, it } from "@effect/vitest";
import { Engine, type Watched } from "../../../src/transport/linux/Engine.js";
import type { Service as HostLoopService } from "../../../src/transport/linux/HostLoop.js";
import {
  type Block,
  EPOLLIN,
  epollEvent,
  type Service as LibcService,
} from "../../../src/transport/linux/Libc.js";

/** A kernel that only knows epoll, and a loop and a clock that are turned by hand. */
const machine = () => {
  const registered = new Map<number, { readonly events: number; readonly incarnation: number }>();
  const closed: Array<number> = [];
  const reported: Array<unknown> = [];
  const soon: Array<() => void> = [];
  const timers: Array<{ readonly at: number; readonly task: () => void }> = [];
  let look = (): ReadonlyArray<number> => [];
  let now = 0;
  let wake = (): void => {};
  let looks = 0;
  const refuse = (): never => {
    throw new Error("this kernel only knows epoll");
  };
  const libc: LibcService = {
    allocate: (size): Block => ({ bytes: new Uint8Array(size), address: 0 }),
    socket: refuse,
    bind: refuse,
    listen: refuse,
    accept: refuse,
    connect: refuse,
    socketName: refuse,
    setOption: refuse,
    resetOnClose: refuse,
    peek: refuse,
    unread: refuse,
    unacknowledged: refuse,
    takeError: refuse,
    connectionInfo: refuse,
    setNonBlocking: refuse,
    shutdown: refuse,
    close: (fd) => {
      closed.push(fd);
      registered.delete(fd);
      return 0;
    },
    read: refuse,
    write: refuse,
    sendRoom: refuse,
    readPipe: refuse,
    pipe: refuse,
    setPipeSize: refuse,
    splice: refuse,
    epollCreate: () => 3,
    epollControl: (_epoll, _operation, fd, events, incarnation) => {
      registered.set(fd, { events, incarnation });
      return 0;
    },
    epollWait: (_epoll, events, most) => {
      looks += 1;
      const words = new Uint32Array(events.bytes.buffer);
      const due = look().slice(0, most);
      due.forEach((fd, i) => {
        words[i * epollEvent.words + epollEvent.events] = EPOLLIN;
        words[i * epollEvent.words + epollEvent.fd] = fd;
        words[i * epollEvent.words + epollEvent.incarnation] = registered.get(fd)?.incarnation ?? 0;
      });
      return due.length;
    },
  };
  const hostLoop: HostLoopService = {
    watch: (_fd, onReadable) => {
      wake = onReadable;
      return { close: () => {} };
    },
    soon: (task) => soon.push(task),
    now: () => now,
    after: (millis, task) => {
      const timer = { at: now + millis, task };
      timers.push(timer);
      return { cancel: () => timers.splice(timers.indexOf(timer), 1) };
    },
  };
  return {
    engine: new Engine(libc, hostLoop, 10, (fault) => reported.push(fault)),
    libc,
    hostLoop,
    closed,
    reported,
    /** How often the kernel was asked for events. */
    looks: () => looks,
    /** What each look at the kernel finds from now on. */
    find: (answer: () => ReadonlyArray<number>) => {
      look = answer;
    },
    /** One turn, in which each look at the kernel finds what this answers. */
    wake: (answer: () => ReadonlyArray<number>) => {
      look = answer;
      wake();
    },
    /** One batch of events, for descriptors as they are registered before the first of them is handled. */
    deliver: (...fds: ReadonlyArray<number>) => {
      const batches = [fds];
      look = () => batches.shift() ?? [];
      wake();
    },
    /** Time goes by, and no timer comes yet. */
    pass: (millis: number) => {
      now += millis;
    },
    turn: () => {
      for (const task of soon.splice(0)) task();
    },
    advance: (millis: number) => {
      now += millis;
      for (const timer of timers.filter(({ at }) => at <= now)) {
        timers.splice(timers.indexOf(timer), 1);
        timer.task();
      }
    },
  };
};

const watched = (fd: number, onEvents: () => void = () => {}, onFault: () => void = () => {}): Watched => ({
  fd,
  incarnation: 0,
  onEvents,
  onRound: () => {},
  onFault,
});

describe("Engine", () => {
  it("keeps an event from a descriptor's successor", () => {
    const { engine, deliver } = machine();
    const reached: Array<string> = [];
    const old = watched(8, () => reached.push("old"));
    const successor = watched(8, () => reached.push("successor"));
    const closer = watched(7, () => {
      engine.close(old);
      engine.add(successor, EPOLLIN);
    });
    engine.add(closer, EPOLLIN);
    engine.add(old, EPOLLIN);
    deliver(7, 8);
    assert.deepStrictEqual(reached, []);
    deliver(8);
    assert.deepStrictEqual(reached, ["successor"]);
  });

  it("keeps an event from one that was closed and has no successor", () => {
    const { engine, deliver, closed, reported } = machine();
    const old = watched(8, () => assert.fail("it was closed"));
    engine.add(old, EPOLLIN);
    engine.add(
      watched(7, () => engine.close(old)),
      EPOLLIN,
    );
    deliver(7, 8);
    assert.deepStrictEqual(closed, [8]);
    assert.deepStrictEqual(reported, []);
  });

  it("keeps an event from one that is not watched any more", () => {
    const { engine, deliver, reported } = machine();
    const removed = watched(8, () => assert.fail("it was removed"));
    engine.add(removed, EPOLLIN);
    engine.add(
      watched(7, () => engine.remove(removed)),
      EPOLLIN,
    );
    deliver(7, 8);
    assert.deepStrictEqual(reported, []);
  });

  it("takes in the same turn what came while it was busy, and stops when there is little", () => {
    const { engine, wake } = machine();
    const reached: Array<number> = [];
    for (const fd of [5, 6, 7, 8]) {
      engine.add(
        watched(fd, () => reached.push(fd)),
        EPOLLIN,
      );
    }
    const batches = [[5, 6, 7], [8], [5, 6, 7]];
    wake(() => batches.shift() ?? []);
    assert.deepStrictEqual(reached, [5, 6, 7, 8]);
    assert.strictEqual(batches.length, 1);
  });

  it("leaves the rest of its events to the next turn when the turn's millisecond is over", () => {
    const { engine, pass, turn, wake } = machine();
    const reached: Array<number> = [];
    const fds = Array.from({ length: 80 }, (_, i) => 5 + i);
    for (const fd of fds) {
      engine.add(
        watched(fd, () => {
          reached.push(fd);
          pass(0.1);
        }),
        EPOLLIN,
      );
    }
    const batches = [fds];
    wake(() => batches.shift() ?? []);
    // The clock is read after every sixteenth, and the turn's time counts from the first reading.
    assert.deepStrictEqual(reached, fds.slice(0, 32));
    turn();
    assert.deepStrictEqual(reached, fds.slice(0, 64));
    turn();
    assert.deepStrictEqual(reached, fds);
  });

  it("keeps an event that a turn has left over from one that was closed meanwhile, and from its successor", () => {
    const { engine, pass, turn, wake } = machine();
    const reached: Array<string> = [];
    const fds = Array.from({ length: 34 }, (_, i) => 5 + i);
    const all = fds.map((fd) =>
      watched(fd, () => {
        reached.push(`${fd}`);
        pass(0.1);
      }),
    );
    for (const one of all) engine.add(one, EPOLLIN);
    const batches = [fds];
    wake(() => batches.shift() ?? []);
    engine.close(all[32] as Watched); // the first of those that are left over
    engine.close(all[33] as Watched);
    engine.add(
      watched(38, () => reached.push("successor")),
      EPOLLIN,
    );
    turn();
    assert.strictEqual(reached.length, 32);
  });

  it("looks no more once it was shut down in a turn", () => {
    const { engine, closed, wake } = machine();
    const fds = [5, 6, 7];
    for (const fd of fds) engine.add(watched(fd), EPOLLIN);
    let looks = 0;
    wake(() => {
      looks += 1;
      engine.shutdown();
      return fds;
    });
    assert.strictEqual(looks, 1);
    assert.deepStrictEqual(closed, [3]);
  });

  it("catches what a callback throws, tells of it, and goes on with the next", () => {
    const { engine, deliver, reported } = machine();
    const told: Array<string> = [];
    const defect = new Error("a defect");
    const throwing = watched(
      7,
      () => {
        throw defect;
      },
      () => told.push("fault"),
    );
    engine.add(throwing, EPOLLIN);
    engine.add(
      watched(8, () => told.push("next")),
      EPOLLIN,
    );
    deliver(7, 8);
    assert.deepStrictEqual(told, ["fault", "next"]);
    assert.deepStrictEqual(reported, [defect]);
    assert.strictEqual(engine.faults.count, 1);
  });

  it("catches what ending a faulty one throws, too", () => {
    const { engine, deliver, reported } = machine();
    const throwing = (): never => {
      throw new Error("a defect");
    };
    engine.add(watched(7, throwing, throwing), EPOLLIN);
    deliver(7);
    assert.strictEqual(reported.length, 2);
  });

  it("goes round every two seconds, by 256 places in a slice", () => {
    const { engine, advance, pass, turn } = machine();
    let rounds = 0;
    for (let fd = 0; fd < 600; fd++) {
      engine.add(
        {
          ...watched(fd),
          onRound: () => {
            rounds += 1;
            pass(0.01);
          },
        },
        EPOLLIN,
      );
    }
    advance(1_999);
    turn();
    assert.strictEqual(rounds, 0);
    advance(1);
    const seen = [0, 1, 2].map(() => {
      turn();
      return rounds;
    });
    assert.deepStrictEqual(seen, [256, 512, 600]);
    advance(2_000);
    turn();
    assert.strictEqual(rounds, 856);
  });

  it("lets nothing expire after a stall before all events that were there were handled", () => {
    const { advance, engine, find, turn } = machine();
    const handled: Array<string> = [];
    engine.add(
      watched(7, () => handled.push("event")),
      EPOLLIN,
    );
    engine.connectDeadlines.add(
      {
        since: 0,
        deadline: 0,
        extended: 0,
        earlier: undefined,
        later: undefined,
        expire: () => handled.push("expired"),
      },
      100,
    );
    // More than one look finds.
    let left = 700;
    find(() => {
      const some = Math.min(left, 512);
      left -= some;
      return Array.from({ length: some }, () => 7);
    });
    advance(60_000);
    for (let i = 0; i < 4; i++) turn();
    assert.strictEqual(handled.length, 701);
    assert.strictEqual(handled.at(-1), "expired");
  });

  it("asks for no events any more once it was shut down", () => {
    const { engine, looks, reported, turn, wake } = machine();
    engine.scheduler.later({ proceed: () => assert.fail("it was shut down"), onFault: () => {} });
    engine.shutdown();
    turn();
    wake(() => [7]);
    assert.strictEqual(looks(), 0);
    assert.deepStrictEqual(reported, []);
  });

  it("leaves no descriptor where the loop does not watch it", () => {
    const { closed, libc, hostLoop } = machine();
    const refusing: HostLoopService = {
      ...hostLoop,
      watch: () => {
        throw new Error("not watched");
      },
    };
    assert.throws(() => new Engine(libc, refusing, 10, () => {}), "not watched");
    assert.deepStrictEqual(closed, [3]);
  });

  it("ends what is watched when it is shut down, once, and watches nothing afterwards", () => {
    const { engine, closed } = machine();
    let faults = 0;
    const one = watched(
      7,
      () => {},
      () => {
        faults += 1;
        engine.close(one);
      },
    );
    engine.add(one, EPOLLIN);
    engine.shutdown();
    engine.shutdown();
    assert.strictEqual(faults, 1);
    assert.deepStrictEqual(closed, [7, 3]);
    assert.isBelow(engine.add(watched(9), EPOLLIN), 0);
  });
});
