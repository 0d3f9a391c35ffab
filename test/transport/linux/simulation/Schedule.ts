/**
 * One seed's course of events: clients that come, backends that are connected to, bytes, ends and breaks, interruptions;
 * and what has to be true of it whatever happens.
 */
import { ofCode } from "../../../../src/transport/ConnectError.js";
import { Acceptor } from "../../../../src/transport/linux/Acceptor.js";
import { Connecting, type Settled, timedOut } from "../../../../src/transport/linux/Connecting.js";
import { Engine } from "../../../../src/transport/linux/Engine.js";
import { Head } from "../../../../src/transport/linux/Head.js";
import { addressSize, errnoName, inetLength } from "../../../../src/transport/linux/Libc.js";
import { sendPreface } from "../../../../src/transport/linux/Preface.js";
import { Relay } from "../../../../src/transport/linux/Relay.js";
import { ResetWatch } from "../../../../src/transport/linux/ResetWatch.js";
import { RingConnecting } from "../../../../src/transport/linux/RingConnecting.js";
import { RingRelay } from "../../../../src/transport/linux/RingRelay.js";
import { Socket } from "../../../../src/transport/linux/Socket.js";
import { Places } from "../../../../src/transport/Places.js";
import type { Connection, RelayOutcome } from "../../../../src/transport/Transport.js";
import { Kernel, Violation } from "./Kernel.js";
import { Peer } from "./Peer.js";
import { Random } from "./Random.js";
import { SimulatedRing } from "./SimulatedRing.js";
import { Stream } from "./Stream.js";

/** Steps after which something is taken to hang. */
const mostSteps = 2_000_000;

/** A client's connection, as the fiber of it would know it. */
interface Life {
  readonly client: Peer;
  backend: Peer | undefined;
  /** What interruption does now; undefined once it is over. */
  interrupt: (() => void) | undefined;
  /** What interruption does that comes when all is over, and the fiber has not heard of it. */
  late: (() => void) | undefined;
  /** Asks what was not acknowledged, as may be done at any time; undefined before it is relayed. */
  ask: (() => number) | undefined;
  ended: number;
  outcome: RelayOutcome | undefined;
  interrupted: boolean;
  /** It ended when the engine was shut down. */
  stopped: boolean;
  failed: boolean;
  readonly counts: { received: number; sent: number };
  /** Bytes of its client that were read before it was relayed. */
  head: number;
}

const begin = (client: Peer): Life => ({
  client,
  backend: undefined,
  interrupt: undefined,
  late: undefined,
  ask: undefined,
  ended: 0,
  outcome: undefined,
  interrupted: false,
  stopped: false,
  failed: false,
  counts: { received: 0, sent: 0 },
  head: 0,
});

const check = (holds: boolean, what: () => string): void => {
  if (!holds) throw new Violation(what());
};

/** Runs it; throws a {@link Violation} when something is not as it has to be. Answers what was logged. */
export const run = (seed: number, log?: Array<string>): void => {
  const random = new Random(seed);
  const peers: Array<Peer> = [];
  const lives: Array<Life> = [];
  let place = random.below(1 << 20);
  const huge = random.oneIn(50);
  const peer = (name: string): Peer => {
    place += 65_521;
    const made = new Peer(name, new Stream(place), random, huge);
    peers.push(made);
    return made;
  };
  const troubles = random.pick([0, 0, 400, 40]);
  const limit = random.pick([1_000, 1_000, 12]);
  const kernel = new Kernel(random, troubles, limit, () => peer("backend"), log !== undefined);
  if (log !== undefined) Object.defineProperty(kernel, "log", { value: log });
  if (huge) kernel.buffers = 8_000_000;
  kernel.callMillis = 0.005;
  const faults: Array<unknown> = [];
  const sources = random.pick([[], [], ["127.0.0.2"], ["127.0.0.2", "127.0.0.3", "127.0.0.4"]]);
  kernel.sourced = sources.length > 0;
  const engine = new Engine(
    kernel.libc,
    kernel.hostLoop,
    random.pick([1_000, 3]),
    (fault) => faults.push(fault),
    undefined,
    undefined,
    sources,
  );
  /** Clients begin with a head and wait for a place of a backend, backends begin with a preface, and clients have places. */
  const heads = random.oneIn(4);
  const waits = random.oneIn(4);
  const preface = random.oneIn(4) ? new Stream(7).bytes(0, random.between(1, 107)) : undefined;
  const places = random.oneIn(6) ? new Places(random.between(1, 3)) : undefined;
  const destination = { family: 2, address: kernel.libc.allocate(addressSize), length: inetLength };

  const ring = random.oneIn(2)
    ? new SimulatedRing(kernel, random, (culprit, fault) => engine.faults.caught(culprit, fault))
    : undefined;

  let stopped = false;
  const over = (life: Life): void => {
    life.ended += 1;
    life.stopped = stopped;
    life.interrupt = undefined;
    check(life.ended === 1, () => "a connection ended twice");
  };

  const relay = (life: Life, client: Socket, server: Socket): void => {
    const here = kernel.peerOf(client.fd);
    const there = kernel.peerOf(server.fd);
    if (there !== undefined) {
      kernel.pair(life.client, there.peer);
      there.peer.skipped = life.head;
      check(there.peer.arrived === (preface?.length ?? 0), () => "the backend has not got the preface");
    }
    const ended = (outcome: RelayOutcome): void => {
      over(life);
      life.outcome = outcome;
      life.late = () => running.abort();
      if (here !== undefined && there !== undefined) {
        const { received, sent } = outcome;
        check(
          received === here.socket.taken - life.head && sent === there.socket.taken,
          () => `told ${received} and ${sent} bytes, read ${here.socket.taken} and ${there.socket.taken}`,
        );
        check(
          life.counts.received === received && life.counts.sent === sent,
          () => "the counts say another thing",
        );
      }
    };
    const running =
      ring === undefined
        ? new Relay(client, server, life.counts, ended)
        : new RingRelay(ring, client, server, life.counts, ended);
    life.ask = () => running.unacknowledged();
    life.interrupt = () => {
      life.interrupted = true;
      over(life);
      running.abort();
    };
    running.start();
  };

  const remote = { host: "127.0.0.1", port: 2 };
  const connecting = (settle: (result: Settled) => void): Connecting =>
    ring === undefined
      ? new Connecting(engine, remote, settle)
      : new RingConnecting(engine, ring, remote, settle);

  const serve = (connection: Connection): void => {
    check(connection instanceof Socket, () => "a connection that is no socket");
    const client = connection as Socket; // as was checked
    const found = kernel.peerOf(client.fd);
    if (found === undefined) throw new Violation("a connection of nobody");
    const life = begin(found.peer);
    lives.push(life);
    check(
      places === undefined || lives.filter(({ ended }) => ended === 0).length <= places.most,
      () => "more clients than there are places",
    );
    const refuse = (): void => {
      over(life);
      client.reset();
    };
    let settled = false;
    const settle = (result: Settled): void => {
      settled = true;
      if (!(result instanceof Socket)) {
        life.failed = true;
        life.late = () => attempt.cancel();
        const code = result > 0 ? errnoName(result) : undefined;
        const reason = result === timedOut ? "timeout" : ofCode(remote, code).reason;
        check(reason !== "other" || stopped, () => `failed for no reason: ${code}`);
        // The ring closes a socket later, when its operation has ended.
        check(
          reason !== "timeout" || ring !== undefined || !kernel.answerLost,
          () => "timed out, though it was answered during a stall",
        );
        refuse();
        return;
      }
      life.backend = kernel.peerOf(result.fd)?.peer;
      check(life.backend !== undefined, () => "connected to nobody");
      if (preface !== undefined) {
        if (life.backend !== undefined) life.backend.preface = preface;
        if (sendPreface(result, preface) < 0) {
          result.end(true);
          refuse();
          return;
        }
      }
      // The fiber hears of it a moment later; it may have been interrupted meanwhile.
      life.interrupt = () => {
        life.interrupted = true;
        result.reset();
        refuse();
      };
      later.push(() => {
        if (life.ended === 0) relay(life, client, result);
      });
    };
    let attempt = connecting(settle);
    const connect = (): void => {
      attempt = connecting(settle);
      life.interrupt = () => {
        life.interrupted = true;
        attempt.cancel();
        refuse();
      };
      attempt.start(destination, 5_000);
      if (!settled) check(life.ended === 0, () => "refused without a word");
    };
    const wait = (): void => {
      let waiting = true;
      const watching = new ResetWatch(client, () => {
        check(waiting, () => "told of a client that does not wait any more");
        waiting = false;
        const { harmed, resetSent } = life.client;
        check(resetSent || harmed || stopped, () => "told that a client broke off, and it has not");
        life.late = () => watching.stop();
        refuse();
      });
      life.interrupt = () => {
        life.interrupted = true;
        waiting = false;
        watching.stop();
        refuse();
      };
      queue.push({
        client: life.client,
        waits: () => waiting,
        admit: () => {
          waiting = false;
          watching.stop();
          connect();
        },
      });
      watching.start();
    };
    const proceed = waits && random.oneIn(2) ? wait : connect;
    if (!heads) {
      proceed();
      return;
    }
    const length = random.between(1, 300);
    // Of some it is not known how long it is before much of it is there; some are wrong.
    const known = random.between(1, length);
    const wrong = random.oneIn(10);
    const reading = new Head(
      client,
      4_096,
      (bytes) => (bytes.length < known ? 0 : wrong ? -1 : length),
      (bytes) => {
        check(life.client.stream.matches(0, bytes), () => "the head is not what was sent");
        life.late = () => reading.cancel();
        if (wrong) {
          refuse();
          return;
        }
        check(bytes.length === length, () => `a head of ${bytes.length} bytes in place of ${length}`);
        life.head = length;
        // The fiber hears of it a moment later.
        life.interrupt = () => {
          life.interrupted = true;
          refuse();
        };
        later.push(() => {
          if (life.ended === 0) proceed();
        });
      },
      () => refuse(),
    );
    life.interrupt = () => {
      life.interrupted = true;
      reading.cancel();
      refuse();
    };
    reading.start(5_000);
  };

  const later: Array<() => void> = [];
  /** Clients that wait for a place of a backend, or have waited. */
  const queue: Array<{
    readonly client: Peer;
    readonly waits: () => boolean;
    readonly admit: () => void;
  }> = [];
  /** There is a place for one of those who wait. Who has broken off gets none: that is to be noticed. */
  const admit = (): boolean => {
    const waiting = queue.filter(({ client, waits }) => waits() && !client.resetSent);
    const one = waiting[random.below(Math.max(1, waiting.length))];
    one?.admit();
    return one !== undefined;
  };
  const listener = kernel.listening();
  const refuse = (connection: Connection): void => {
    check(connection instanceof Socket, () => "a connection that is no socket");
    const client = kernel.peerOf((connection as Socket).fd)?.peer; // as was checked
    if (client === undefined) throw new Violation("a connection of nobody");
    lives.push({ ...begin(client), ended: 1 });
    connection.reset();
  };
  const acceptor = new Acceptor(
    engine,
    listener.fd,
    serve,
    () => {},
    refuse,
    places,
    () => {},
  );
  // Where even this has trouble, it is tried again.
  while (acceptor.start() < 0) {}
  kernel.elsewhere = () => {
    peers[random.below(Math.max(1, peers.length))]?.step();
  };

  let coming = huge ? 1 : random.oneIn(20) ? 12 : random.between(1, 6);
  // A loop that turns seldom has much to do in one turn.
  const laziness = random.pick([1, 1, 1, 10]);
  const interrupts = random.oneIn(4);
  const asks = random.oneIn(4);
  const stalls = random.oneIn(8);
  // Not where descriptors are so few that eight spare pipes are all of them.
  const hogs = random.oneIn(8) && limit > 100;
  const holder = { giveBack: () => false };
  /** Somebody takes all pipes there are, those of readers that have stalled included, and gives them back. */
  const hog = (): void => {
    kernel.elapse(1_000);
    const pipes = Array.from({ length: 400 }, () => engine.pipes.acquire(holder));
    for (const pipe of pipes) if (pipe !== undefined) engine.pipes.release(pipe);
  };
  // The engine is shut down about after so many steps; 0 for when all is over.
  const stops = random.oneIn(10) ? random.pick([20, 100, 500]) : 0;
  const happen = (): boolean => {
    if (stalls && random.oneIn(100)) kernel.stall(random.between(100, 50_000));
    if (hogs && random.oneIn(100)) hog();
    switch (random.below(8)) {
      case 0:
        if (coming === 0) return false;
        coming -= 1;
        listener.connect(peer("client"));
        return true;
      case 1:
        return random.oneIn(4) && admit() ? true : kernel.settle();
      case 2: {
        if (asks && random.oneIn(4)) lives[random.below(Math.max(1, lives.length))]?.ask?.();
        if (!interrupts || !random.oneIn(20)) return false;
        const life = lives[random.below(Math.max(1, lives.length))];
        life?.interrupt?.();
        return life !== undefined;
      }
      case 3:
      case 4:
      case 5:
        return peers[random.below(Math.max(1, peers.length))]?.step() ?? false;
      default: {
        if (later.length > 0 && random.oneIn(2)) {
          for (const task of later.splice(0)) task();
          return true;
        }
        if (!random.oneIn(laziness)) return kernel.busy || later.length > 0;
        return kernel.turn() || later.length > 0;
      }
    }
  };

  const quiet = (): boolean =>
    coming === 0 &&
    lives.every(({ ended }) => ended > 0) &&
    peers.every(({ done, wire }) => done || wire === undefined);

  let idle = 0;
  let steps = 0;
  while (
    !(quiet() && lives.length > 0 && peers.filter(({ name }) => name === "client").length === lives.length)
  ) {
    if (stops > 0 && random.oneIn(stops)) break;
    steps += 1;
    if (happen()) idle = 0;
    else idle += 1;
    // Nothing goes on but time.
    if (idle > 200) {
      idle = 0;
      check(
        !queue.some(({ client, waits }) => waits() && client.resetSent),
        () => "a client that waits has broken off, and nobody is told",
      );
      kernel.pass();
    }
    check(
      steps < mostSteps,
      () =>
        `it hangs: ${lives.filter(({ ended }) => ended === 0).length} of ${lives.length} connections are still open`,
    );
  }

  const shutdown = (): void => {
    engine.shutdown();
    ring?.shutdown();
  };
  for (const { late } of lives) late?.();
  // Mostly there is nothing left to stop.
  stopped = true;
  if (random.oneIn(2)) {
    acceptor.close();
    shutdown();
    check(kernel.timers === 0, () => "a timer is left");
  } else shutdown();
  for (const task of later.splice(0)) task();
  // What was due does nothing any more, nor does a new attempt.
  while (kernel.turn() || kernel.pass()) {}
  connecting((result) => check(!(result instanceof Socket), () => "connected after the end")).start(
    destination,
    5_000,
  );
  acceptor.close();
  check(ring?.clean !== false, () => "operations or buffers of the ring are left");
  check(kernel.open === 0, () => `${kernel.open} descriptors are left`);
  check(faults.length === 0 && engine.faults.count === 0, () => `caught ${String(faults[0])}`);
  check(engine.clients === 0, () => `${engine.clients} clients are counted, and none is left`);

  for (const { backend, client, ended, failed, interrupted, outcome, stopped } of lives) {
    check(ended === 1, () => "a connection was not told its end");
    if (outcome === undefined) {
      check(client.resetArrived || client.resetSent, () => "a client that was refused was not reset");
      check(
        backend === undefined || backend.resetArrived || backend.resetSent,
        () => "the backend of a client that was refused was not reset",
      );
      continue;
    }
    check(!failed && !interrupted, () => "an outcome of nothing");
    if (backend === undefined) continue;
    if (outcome.end === "client-closed" || outcome.end === "backend-closed") {
      const first = client.endTold < backend.endTold ? "client-closed" : "backend-closed";
      check(outcome.end === first, () => `${outcome.end}, and it was ${first}`);
      check(client.finArrived || client.resetSent, () => "the client was not told the end");
      check(backend.finArrived || backend.resetSent, () => "the backend was not told the end");
      check(
        backend.position === client.sent,
        () => `the backend has ${backend.arrived} of ${client.sent} bytes`,
      );
      check(
        client.arrived === backend.sent,
        () => `the client has ${client.arrived} of ${backend.sent} bytes`,
      );
    } else {
      const broke = outcome.end === "client-reset" ? client : backend;
      const other = broke === client ? backend : client;
      check(
        other.resetArrived || other.resetSent,
        () => `the ${other.name} was not reset with the ${broke.name}`,
      );
      const reason = [client, backend].some(({ harmed, resetSent }) => harmed || resetSent);
      check(reason || stopped, () => `${outcome.end}, and nobody broke off`);
    }
  }
};

/** What went wrong in a schedule: its last events, and how to see them again. */
export const report = (seed: number, violation: unknown): string => {
  const log: Array<string> = [];
  try {
    run(seed, log);
  } catch {
    // The same again, by now with its log.
  }
  const what =
    violation instanceof Error
      ? violation instanceof Violation
        ? violation.message
        : (violation.stack ?? violation.message)
      : String(violation);
  return [
    `seed ${seed}: ${what}`,
    ...log.slice(-60),
    `again: npm run test:simulate -- --seed ${seed} --schedules 1`,
  ].join("\n");
};
