import { assert, describe, it } from "@effect/vitest";
import {
  Cause,
  Deferred,
  Duration,
  Effect,
  Exit,
  FastCheck,
  Fiber,
  Option,
  Queue,
  Ref,
  Stream,
  TestClock,
} from "effect";
import * as Signals from "../../src/process/Signals.js";

const always: ReadonlyArray<Signals.Signal> = ["SIGTERM", "SIGINT", "SIGQUIT"];
const never: ReadonlyArray<Signals.Signal> = ["SIGUSR1", "SIGUSR2", "SIGALRM"];

/** A program under supervision that runs until it is interrupted and then drains until it is told to be done. */
const supervised = (onTerminal = false, delay: Duration.DurationInput = 0) =>
  Effect.gen(function* () {
    const signals = yield* Queue.unbounded<Signals.Signal>();
    const started = yield* Deferred.make<void>();
    const drained = yield* Deferred.make<void>();
    const done = yield* Deferred.make<void>();
    const ended = yield* Ref.make<ReadonlyArray<Signals.Signal>>([]);
    const ignored = yield* Ref.make<ReadonlyArray<Signals.Signal>>([]);
    const program = Signals.IgnoredSignals.pipe(
      Effect.flatMap(Stream.runForEach((signal) => Ref.update(ignored, (all) => [...all, signal]))),
      Effect.fork,
      Effect.zipRight(Deferred.succeed(started, undefined)),
      Effect.zipRight(Effect.never),
      Effect.onInterrupt(() =>
        Effect.gen(function* () {
          if (delay !== 0) yield* (yield* Signals.Delay).wait(Duration.decode(delay));
          yield* Deferred.succeed(drained, undefined);
          yield* Deferred.await(done);
        }),
      ),
    );
    const fiber = yield* Effect.forkScoped(
      Signals.supervise({
        signals: Effect.succeed(signals),
        onTerminal,
        end: (signal) => Ref.update(ended, (all) => [...all, signal]),
      })(program),
    );
    yield* Effect.addFinalizer(() => Deferred.succeed(done, undefined));
    yield* Deferred.await(started);
    /** Sends it, and lets all that follows from it happen. */
    const send = (signal: Signals.Signal) =>
      Effect.zipRight(Queue.offer(signals, signal), TestClock.adjust(0));
    return { fiber, send, drained, done, ended: Ref.get(ended), ignored: Ref.get(ignored) };
  });

describe("a signal", () => {
  it("that asks for the end drains once, then counts as the same for a second, and then ends", () => {
    FastCheck.assert(
      FastCheck.property(
        FastCheck.constantFrom(...always),
        FastCheck.boolean(),
        FastCheck.integer({ min: 0, max: 3000 }),
        (signal, onTerminal, since) => {
          assert.strictEqual(Signals.actionOf(signal, onTerminal, undefined), "drain");
          assert.strictEqual(Signals.actionOf(signal, onTerminal, since), since < 1000 ? "none" : "end");
        },
      ),
      {
        examples: [
          ["SIGTERM", false, 999],
          ["SIGTERM", false, 1000],
        ],
      },
    );
  });

  it("of another program's habits is ignored, also while it drains", () => {
    for (const signal of never) {
      for (const since of [undefined, 0, 5000]) {
        assert.strictEqual(Signals.actionOf(signal, true, since), "ignore");
        assert.strictEqual(Signals.actionOf(signal, false, since), "ignore");
      }
    }
  });

  it("that a terminal is closed counts only where the program was started on one", () => {
    assert.strictEqual(Signals.actionOf("SIGHUP", true, undefined), "drain");
    assert.strictEqual(Signals.actionOf("SIGHUP", true, 0), "none");
    assert.strictEqual(Signals.actionOf("SIGHUP", true, 1000), "end");
    for (const since of [undefined, 0, 1000]) {
      assert.strictEqual(Signals.actionOf("SIGHUP", false, since), "ignore");
    }
  });
});

describe("a supervised program", () => {
  for (const signal of always) {
    it.scoped(`is interrupted at ${signal}, and may take its time to drain`, () =>
      Effect.gen(function* () {
        const program = yield* supervised();
        yield* program.send(signal);
        yield* Deferred.await(program.drained);
        yield* TestClock.adjust("1 hour");
        assert.isTrue(Option.isNone(yield* Fiber.poll(program.fiber)));
        yield* Deferred.succeed(program.done, undefined);
        const exit = yield* program.fiber.await;
        assert.isTrue(Exit.isFailure(exit) && Cause.isInterruptedOnly(exit.cause));
        assert.deepStrictEqual(yield* program.ended, []);
      }),
    );
  }

  it.scoped("takes two that come together for one, and is ended by one that comes later", () =>
    Effect.gen(function* () {
      const program = yield* supervised();
      yield* program.send("SIGINT");
      yield* program.send("SIGTERM");
      yield* TestClock.adjust("999 millis");
      yield* program.send("SIGINT");
      yield* program.send("SIGUSR1");
      assert.deepStrictEqual(yield* program.ended, []);
      yield* TestClock.adjust("1 millis");
      yield* program.send("SIGQUIT");
      assert.deepStrictEqual(yield* program.ended, ["SIGQUIT"]);
    }),
  );

  it.scoped("drains when a delay before that is over, and then is ended by a second signal", () =>
    Effect.gen(function* () {
      const program = yield* supervised(false, "10 seconds");
      yield* program.send("SIGTERM");
      yield* TestClock.adjust("9 seconds");
      assert.isFalse(yield* Deferred.isDone(program.drained));
      yield* TestClock.adjust("1 seconds");
      yield* Deferred.await(program.drained);
      assert.deepStrictEqual(yield* program.ended, []);
      yield* program.send("SIGTERM");
      assert.deepStrictEqual(yield* program.ended, ["SIGTERM"]);
    }),
  );

  it.scoped("drains at a second signal that comes during a delay, and is ended by a third", () =>
    Effect.gen(function* () {
      const program = yield* supervised(false, "1 hour");
      yield* program.send("SIGTERM");
      yield* TestClock.adjust("999 millis");
      yield* program.send("SIGTERM");
      yield* TestClock.adjust("1 millis");
      assert.isFalse(yield* Deferred.isDone(program.drained), "two together are one");
      yield* program.send("SIGINT");
      yield* Deferred.await(program.drained);
      assert.deepStrictEqual(yield* program.ended, []);
      yield* program.send("SIGTERM");
      assert.deepStrictEqual(yield* program.ended, [], "two together are one");
      yield* TestClock.adjust("1 seconds");
      yield* program.send("SIGTERM");
      assert.deepStrictEqual(yield* program.ended, ["SIGTERM"]);
    }),
  );

  it.scoped("is told which signals were ignored, and runs on", () =>
    Effect.gen(function* () {
      const program = yield* supervised();
      for (const signal of [...never, "SIGHUP"] as const) yield* program.send(signal);
      assert.deepStrictEqual(yield* program.ignored, [...never, "SIGHUP"]);
      assert.isFalse(yield* Deferred.isDone(program.drained));
    }),
  );

  it.scoped("drains at SIGHUP where it was started on a terminal", () =>
    Effect.gen(function* () {
      const program = yield* supervised(true);
      yield* program.send("SIGHUP");
      yield* Deferred.await(program.drained);
      assert.deepStrictEqual(yield* program.ignored, []);
    }),
  );

  it.scoped("has the result of the program", () =>
    Effect.gen(function* () {
      const options = {
        signals: Queue.unbounded<Signals.Signal>(),
        onTerminal: false,
        end: () => Effect.void,
      };
      assert.strictEqual(yield* Signals.supervise(options)(Effect.succeed(7)), 7);
      assert.strictEqual(yield* Effect.flip(Signals.supervise(options)(Effect.fail("why"))), "why");
    }),
  );

  it.scopedLive("has a listener for each signal of the process, and none afterwards", () =>
    Effect.gen(function* () {
      const before = process.listenerCount("SIGALRM");
      yield* Effect.scoped(
        Effect.gen(function* () {
          const signals = yield* Signals.ofProcess;
          process.kill(process.pid, "SIGALRM");
          process.kill(process.pid, "SIGUSR2");
          const taken = [yield* Queue.take(signals), yield* Queue.take(signals)];
          assert.sameMembers(taken, ["SIGALRM", "SIGUSR2"]);
        }),
      );
      assert.strictEqual(process.listenerCount("SIGALRM"), before);
    }),
  );
});
