/**
 * One seed's course of events with data threads: the main thread and two of them over one simulated kernel, which one of
 * them runs when, a thread that stops for a while or dies at any system call, and what has to be true whatever happens.
 *
 * A thread runs until one of its system calls; there others may run, and so on. What two threads see of each other's
 * writes between two system calls is not simulated: it is argued in Queue and Slots, and tried by tests on real threads.
 */
import { Acceptor } from "../../../../src/transport/linux/Acceptor.js";
import { Engine } from "../../../../src/transport/linux/Engine.js";
import type { EventCounters } from "../../../../src/transport/linux/EventCounter.js";
import { Head } from "../../../../src/transport/linux/Head.js";
import {
  addressSize,
  type Service as LibcService,
  writeAddress,
} from "../../../../src/transport/linux/Libc.js";
import { ResetWatch } from "../../../../src/transport/linux/ResetWatch.js";
import type { Socket } from "../../../../src/transport/linux/Socket.js";
import { Places } from "../../../../src/transport/Places.js";
import type { Connection, RelayOutcome } from "../../../../src/transport/Transport.js";
import { DataThread } from "../../../../src/transport/threads/DataThread.js";
import * as Protocol from "../../../../src/transport/threads/Protocol.js";
import { Queue } from "../../../../src/transport/threads/Queue.js";
import { type HandedOver, ThreadHandle } from "../../../../src/transport/threads/ThreadHandle.js";
import { Kernel, Violation } from "./Kernel.js";
import { Peer } from "./Peer.js";
import { Random } from "./Random.js";
import { Stream } from "./Stream.js";

/** Steps after which something is taken to hang. */
const mostSteps = 200_000;

const descriptors = 1_000;

const check = (holds: boolean, what: () => string): void => {
  if (!holds) throw new Violation(what());
};

/** What ends a thread: it is thrown by each of its system calls from then on. */
class Death extends Error {}

/** A client's connection, as the main thread knows it. */
class Life {
  backend: Peer | undefined;
  /** What the process has read of each side. */
  here: { readonly taken: number } | undefined;
  there: { readonly taken: number } | undefined;
  socket: Socket | undefined;
  handed: HandedOver | undefined;
  /** What interruption does before it is handed over. */
  cancel: (() => void) | undefined;
  /** It waits for a place of a backend: what goes on once there is one. */
  admit: (() => void) | undefined;
  /** Bytes of its client that were read before it was handed over. */
  head = 0;
  told = 0;
  givenUp = false;
  outcome: RelayOutcome | undefined;
  readonly counts = { received: 0, sent: 0 };
  constructor(
    readonly client: Peer,
    readonly index: number,
  ) {}
}

/** A data thread as the simulation runs it. */
class Thread {
  readonly link: ThreadHandle;
  readonly orders: Queue;
  readonly reports: Queue;
  thread: DataThread | undefined;
  epoll = -1;
  /** It waits in the kernel, until then at the latest; undefined while it runs. */
  sleepsUntil: number | undefined;
  /** For how long it had set out to wait. */
  sleepMillis = 0;
  running = false;
  dead = false;
  /** The main thread has heard of its end. */
  buried = false;
  /** It does not run for so many steps. */
  stopped = 0;
  /** Its memory as it was when it died. */
  #remains: ReadonlyArray<readonly [SharedArrayBuffer, Uint8Array]> = [];

  constructor(
    readonly kernel: Kernel,
    readonly random: Random,
    engine: Engine,
    slots: number,
    /** System calls that it makes before it dies. */
    public calls: number,
    paired: () => void,
    connects: (fd: number, port: number) => void,
  ) {
    this.link = new ThreadHandle(engine, kernel.counters, {
      name: "simulated",
      slots,
      descriptors,
      pipeBudget: 4 * 1024 * 1024,
      onReady: () => {},
      onFault: (text) => check(false, () => `a data thread has caught ${text}`),
    });
    this.orders = new Queue(this.link.memory.orders);
    this.reports = new Queue(this.link.memory.reports);
    const owned = new Uint8Array(this.link.memory.owned);
    const { libc } = kernel;
    // What the real calls do of themselves: nothing comes between a call and its byte.
    const entering: Partial<LibcService> = {
      socket: (family) => {
        const fd = libc.socket(family);
        if (fd >= 0) owned[fd] = 1;
        return fd;
      },
      epollCreate: () => {
        const fd = libc.epollCreate();
        if (fd >= 0) owned[fd] = 1;
        this.epoll = fd;
        return fd;
      },
      pipe: (ends) => {
        const result = libc.pipe(ends);
        if (result < 0) return result;
        for (const fd of new Int32Array(ends.bytes.buffer, ends.bytes.byteOffset, 2)) owned[fd] = 1;
        return result;
      },
      close: (fd) => {
        owned[fd] = 0;
        return libc.close(fd);
      },
      connect: (fd, address, length) => {
        connects(fd, (address.bytes[2] ?? 0) * 256 + (address.bytes[3] ?? 0));
        return libc.connect(fd, address, length);
      },
      epollWait: (epoll, events, most, millis) => {
        const count = libc.epollWait(epoll, events, most, millis);
        paired();
        return count;
      },
    };
    try {
      this.thread = new DataThread(
        this.#mortal({ ...libc, ...entering }),
        this.#mortal(kernel.counters),
        undefined,
        this.link.memory,
        () => kernel.hostLoop.now(),
      );
    } catch (cause) {
      this.#fell(cause);
    }
  }

  /** The calls, each of which may be its last: it dies before or after it. */
  #mortal<Calls extends LibcService | EventCounters>(calls: Calls): Calls {
    const mortal: Record<string, unknown> = {};
    for (const [name, call] of Object.entries(calls) as ReadonlyArray<
      // Each of them is a function of numbers and blocks.
      readonly [string, (...args: ReadonlyArray<unknown>) => unknown]
    >) {
      mortal[name] =
        name === "allocate"
          ? call
          : (...args: ReadonlyArray<unknown>) => {
              if (this.dead) throw new Death();
              this.calls -= 1;
              const dies = this.calls < 0;
              if (dies && this.random.oneIn(2)) this.#die();
              const result = call(...args);
              if (dies) this.#die();
              return result;
            };
    }
    return mortal as Calls; // the same names
  }

  #die(): never {
    this.dead = true;
    const { faults, orders, owned, reports, slots } = this.link.memory;
    this.#remains = [faults, orders, owned, reports, slots].map((memory) => [
      memory,
      new Uint8Array(memory).slice(),
    ]);
    this.kernel.log?.push("  the thread dies");
    throw new Death();
  }

  /** Whether it has something to do. */
  get due(): boolean {
    if (this.running || this.dead || this.thread === undefined) return false;
    return (
      this.sleepsUntil === undefined ||
      this.kernel.wakes(this.epoll) ||
      this.kernel.hostLoop.now() >= this.sleepsUntil
    );
  }

  /** Runs from one wait to the next, or from its start to the first, or to its end. */
  run(): void {
    const { thread } = this;
    if (thread === undefined || this.running) return;
    this.running = true;
    try {
      if (this.sleepsUntil === undefined) thread.begin();
      else if (!thread.proceed(0)) {
        thread.end();
        this.thread = undefined;
        this.running = false;
        return;
      }
      this.sleepsUntil = undefined;
      this.sleepMillis = thread.prepare();
      this.sleepsUntil = this.kernel.hostLoop.now() + this.sleepMillis;
    } catch (cause) {
      this.#fell(cause);
    }
    // Whoever catches an exception may have gone on after its death.
    if (this.dead) for (const [memory, bytes] of this.#remains) new Uint8Array(memory).set(bytes);
    this.running = false;
  }

  #fell(cause: unknown): void {
    if (!(cause instanceof Death) && !(cause instanceof Error && /epoll/.test(cause.message))) throw cause;
    this.dead = true;
    for (const [memory, bytes] of this.#remains) new Uint8Array(memory).set(bytes);
  }
}

/** Runs it; throws a {@link Violation} when something is not as it has to be. */
export const run = (seed: number, log?: Array<string>): void => {
  const random = new Random(seed);
  const peers: Array<Peer> = [];
  const lives: Array<Life> = [];
  let place = random.below(1 << 20);
  const peer = (name: string): Peer => {
    place += 65_521;
    const made = new Peer(name, new Stream(place), random, false);
    peers.push(made);
    return made;
  };
  const kernel = new Kernel(
    random,
    random.pick([0, 0, 400]),
    descriptors,
    () => peer("backend"),
    log !== undefined,
  );
  if (log !== undefined) Object.defineProperty(kernel, "log", { value: log });
  kernel.callMillis = 0.005;
  const sources = random.pick([[], [], ["127.0.0.2"], ["127.0.0.2", "127.0.0.3", "127.0.0.4"]]);
  kernel.sourced = sources.length > 0;
  const engine = new Engine(
    kernel.libc,
    kernel.hostLoop,
    1_000,
    (fault) => check(false, () => `the main thread has caught ${String(fault)}`),
    undefined,
    undefined,
    sources,
  );
  const heads = random.oneIn(4);
  const waits = random.oneIn(4);
  const preface = random.oneIn(4) ? new Stream(7).bytes(0, random.between(1, 107)) : undefined;
  const places = random.oneIn(6) ? new Places(random.between(1, 3)) : undefined;

  /** Descriptors on their way to a backend, and for whom. */
  const connecting = new Map<number, Life>();
  const paired = (): void => {
    for (const [fd, life] of connecting) {
      const there = kernel.peerOf(fd);
      // Where it has failed a client may have its number by now.
      if (there?.peer.name !== "backend" || life.backend !== undefined) continue;
      connecting.delete(fd);
      life.backend = there.peer;
      life.there = there.socket;
      kernel.pair(life.client, there.peer);
      there.peer.skipped = life.head;
      if (preface !== undefined) there.peer.preface = preface;
    }
  };
  const threads: Array<Thread> = [];
  const mortal = random.oneIn(2);
  const slots = random.pick([2, 100]);
  const start = (): void => {
    const calls = mortal && random.oneIn(2) ? random.below(random.pick([30, 400])) : Number.POSITIVE_INFINITY;
    threads.push(
      new Thread(kernel, random, engine, slots, calls, paired, (fd, port) => {
        const life = lives[port - 1];
        if (life !== undefined) connecting.set(fd, life);
      }),
    );
  };

  const over = (life: Life): void => {
    life.told += 1;
    life.handed = undefined;
    life.cancel = undefined;
    life.admit = undefined;
    check(life.told === 1, () => "a connection was told of twice");
  };
  const handOver = (life: Life, client: Socket): void => {
    life.cancel = undefined;
    const fewest = threads
      .filter(({ buried, link }) => !buried && link.hasPlace)
      .sort((one, other) => one.link.size - other.link.size)[0];
    if (fewest === undefined) {
      over(life);
      client.reset();
      return;
    }
    const address = kernel.libc.allocate(addressSize);
    const length = writeAddress(address, { family: 2, bytes: [127, 0, 0, 1], port: life.index, scope: 0 });
    life.handed = fewest.link.handOver(
      client,
      { family: 2, address, length },
      { timeoutMillis: 5_000, preface },
      life.counts,
      {
        ended: (outcome) => {
          over(life);
          life.outcome = outcome;
        },
        failed: () => {
          over(life);
          client.reset();
        },
        threw: () => check(false, () => "nothing throws here"),
      },
    );
  };
  const refuse = (life: Life, client: Connection): void => {
    over(life);
    client.reset();
  };
  const wait = (life: Life, client: Socket): void => {
    const watching = new ResetWatch(client, () => {
      check(life.admit !== undefined, () => "told of a client that does not wait any more");
      const { harmed, resetSent } = life.client;
      check(resetSent || harmed, () => "told that a client broke off, and it has not");
      refuse(life, client);
    });
    life.cancel = () => watching.stop();
    life.admit = () => {
      life.admit = undefined;
      watching.stop();
      handOver(life, client);
    };
    watching.start();
  };
  /** The fiber of a client hears of its head a moment later. */
  const later: Array<() => void> = [];
  const readHead = (life: Life, client: Socket, proceed: typeof handOver): void => {
    const length = random.between(1, 300);
    const reading = new Head(
      client,
      4_096,
      () => length,
      (bytes) => {
        check(life.client.stream.matches(0, bytes), () => "the head is not what was sent");
        life.head = length;
        life.cancel = () => {};
        later.push(() => {
          if (life.told === 0) proceed(life, client);
        });
      },
      () => refuse(life, client),
    );
    life.cancel = () => reading.cancel();
    reading.start(5_000);
  };
  const serve = (connection: Connection): void => {
    const client = connection as Socket; // this engine makes no others
    const found = kernel.peerOf(client.fd);
    if (found === undefined) throw new Violation("a connection of nobody");
    const life = new Life(found.peer, lives.length + 1);
    life.here = found.socket;
    life.socket = client;
    lives.push(life);
    const proceed = waits && random.oneIn(2) ? wait : handOver;
    if (heads) readHead(life, client, proceed);
    else proceed(life, client);
  };
  const interrupt = (life: Life): void => {
    const { cancel, handed, socket } = life;
    if (cancel !== undefined && socket !== undefined) {
      cancel();
      refuse(life, socket);
      return;
    }
    if (handed === undefined) return;
    life.handed = undefined;
    life.givenUp = true;
    handed.giveUp(() => {
      over(life);
      // While it was being connected it is the caller's again.
      handed.client.reset();
    });
  };

  const listener = kernel.listening();
  const refuseNew = (connection: Connection): void => {
    const client = kernel.peerOf((connection as Socket).fd)?.peer; // this engine makes no others
    if (client === undefined) throw new Violation("a connection of nobody");
    const life = new Life(client, lives.length + 1);
    lives.push(life);
    refuse(life, connection);
  };
  const acceptor = new Acceptor(
    engine,
    listener.fd,
    serve,
    () => {},
    refuseNew,
    places,
    () => {},
  );
  while (acceptor.start() < 0) {}
  start();
  start();

  let coming = random.between(1, 8);
  const interrupts = random.oneIn(3);
  const pauses = random.oneIn(3);
  let inMain = false;
  /** The main thread does something. */
  const main = (): boolean => {
    if (inMain) return false;
    inMain = true;
    const { calls } = kernel;
    try {
      if (interrupts && random.oneIn(20)) {
        const life = lives[random.below(Math.max(1, lives.length))];
        if (life !== undefined) interrupt(life);
      }
      const lost = threads.find(({ buried, dead, running }) => dead && !buried && !running);
      if (lost !== undefined && random.oneIn(4)) {
        lost.buried = true;
        lost.link.close();
        start();
        return true;
      }
      // There is a place for one of those who wait. Who has broken off gets none: that is to be noticed.
      const waiting = lives.filter(({ admit, client }) => admit !== undefined && !client.resetSent);
      if (waiting.length > 0 && random.oneIn(8)) {
        random.pick(waiting as [Life, ...Array<Life>] /* there is one */).admit?.();
        return true;
      }
      if (later.length > 0 && random.oneIn(2)) {
        for (const task of later.splice(0)) task();
        return true;
      }
      return kernel.turn() || later.length > 0;
    } finally {
      inMain = false;
      kernel.calls = calls;
    }
  };
  /** One of the data threads does, if it has anything to do. */
  const data = (): boolean => {
    const thread = threads[random.below(threads.length)];
    if (thread === undefined) return false;
    if (pauses && random.oneIn(400)) thread.stopped = random.below(300);
    if (thread.stopped > 0) {
      thread.stopped -= 1;
      return false;
    }
    if (!thread.due) return false;
    const { calls } = kernel;
    thread.run();
    kernel.calls = calls;
    return true;
  };
  const others = (): boolean => peers[random.below(Math.max(1, peers.length))]?.step() ?? false;
  const happen = (): boolean => {
    switch (random.below(8)) {
      case 0:
        if (coming === 0) return false;
        coming -= 1;
        listener.connect(peer("client"));
        return true;
      case 1:
        return kernel.settle();
      case 2:
      case 3:
        return others();
      case 4:
      case 5:
        return main();
      default:
        return data();
    }
  };
  let depth = 0;
  kernel.elsewhere = () => {
    if (depth > 2) return;
    depth += 1;
    random.pick([others, others, main, data])();
    depth -= 1;
  };

  /** Whoever sleeps is woken for what is there. */
  const awake = (): void => {
    for (const { dead, epoll, orders, reports, running, sleepMillis, sleepsUntil, link, thread } of threads) {
      if (dead || thread === undefined) continue;
      check(
        sleepsUntil === undefined ||
          kernel.hostLoop.now() >= sleepsUntil ||
          orders.length === 0 ||
          kernel.wakes(epoll),
        () => "an order waits for a thread that sleeps, and nothing wakes it",
      );
      check(
        reports.length === 0 ||
          kernel.raised(link.memory.reportsCounter) ||
          running ||
          sleepsUntil === undefined ||
          // The time that calls of another thread took is taken back: its clock is a little behind then.
          sleepMillis <= Protocol.reportDelayMillis + 1,
        () => "a report waits, and nothing wakes the main thread",
      );
    }
  };

  const going = (): boolean =>
    coming > 0 ||
    lives.some(({ told }) => told === 0) ||
    peers.filter(({ name }) => name === "client").length > lives.length ||
    threads.some(({ buried, dead }) => dead && !buried) ||
    peers.some(({ done, wire }) => !done && wire !== undefined);
  let idle = 0;
  for (let steps = 0; going(); steps++) {
    idle = happen() ? 0 : idle + 1;
    awake();
    if (idle > 200) {
      idle = 0;
      check(
        !lives.some(({ admit, client }) => admit !== undefined && client.resetSent),
        () => "a client that waits has broken off, and nobody is told",
      );
      // A look of the main thread's, a round, a deadline; or what a thread waits for.
      if (!kernel.pass()) kernel.elapse(1_000);
    }
    check(steps < mostSteps, () => `it hangs: ${lives.filter(({ told }) => told === 0).length} are open`);
  }

  kernel.elsewhere = () => {};
  acceptor.close();
  for (const thread of threads) {
    if (!thread.buried && !thread.dead) thread.link.stop();
    for (let turns = 0; thread.thread !== undefined && !thread.dead; turns++) {
      check(turns < 1_000, () => "a thread does not end by order");
      thread.run();
    }
    if (!thread.buried) thread.link.close();
  }
  engine.shutdown();
  check(kernel.open === 0, () => `${kernel.open} descriptors are left`);
  check(engine.clients === 0, () => `${engine.clients} clients are counted, and none is left`);
  for (const { backend, client, counts, givenUp, head, here, outcome, there, told } of lives) {
    check(told === 1, () => `a connection was told of ${told} times`);
    const orderly = outcome?.end === "client-closed" || outcome?.end === "backend-closed";
    // One that was given up, or whose thread has died, may have ended in order in the moment before.
    const late = givenUp || outcome?.end === "thread-lost";
    const broken = (peer: Peer) => peer.resetArrived || peer.resetSent || (late && peer.finArrived);
    if (!orderly) {
      check(broken(client), () => `the client was not reset: ${outcome?.end}`);
      check(backend === undefined || broken(backend), () => `the backend was not reset: ${outcome?.end}`);
    } else if (backend !== undefined) {
      check(
        backend.position === client.sent,
        () => `the backend has ${backend.arrived} of ${client.sent} bytes`,
      );
      check(
        client.arrived === backend.sent,
        () => `the client has ${client.arrived} of ${backend.sent} bytes`,
      );
    }
    if (outcome === undefined || outcome.end === "thread-lost") continue;
    check(
      counts.received === (here?.taken ?? 0) - head && counts.sent === (there?.taken ?? 0),
      () => `${counts.received} and ${counts.sent} were counted, and ${here?.taken} and ${there?.taken} read`,
    );
  }
};

/** What went wrong in a schedule, and its last events. */
export const report = (seed: number, violation: unknown): string => {
  const log: Array<string> = [];
  try {
    run(seed, log);
  } catch {
    // The same again, by now with its log.
  }
  const what = violation instanceof Error ? (violation.stack ?? violation.message) : String(violation);
  return [
    `seed ${seed}: ${what}`,
    ...log.slice(-60),
    `again: npm run test:simulate -- --threads --seed ${seed} --schedules 1`,
  ].join("\n");
};
