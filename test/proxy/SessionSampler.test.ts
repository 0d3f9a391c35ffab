import { assert, describe, it } from "@effect/vitest";
import { Chunk, Effect, Fiber, FastCheck as fc, TestClock, TestContext } from "effect";
import * as TimeSlices from "../../src/clock/TimeSlices.js";
import { ByteSlots } from "../../src/proxy/ByteSlots.js";
import { OpenSessions } from "../../src/proxy/OpenSessions.js";
import { Session } from "../../src/proxy/Session.js";
import { SessionFiber } from "../../src/proxy/SessionFibers.js";
import { Largest, type Sources, sample } from "../../src/proxy/SessionSampler.js";
import type { Selection } from "../../src/proxy/Sessions.js";
import * as SingleSteps from "../support/SingleSteps.js";

const fiberOptions = { attempt: () => Effect.never, end: () => undefined, logDefect: () => Effect.void };

/** Sessions of one listener that come and go. */
const listener = () => {
  const slots = new ByteSlots();
  const open = new OpenSessions();
  let lastId = 0;
  const come = (host: string): Session => {
    lastId += 1;
    const client = { remote: { host, port: 1 }, close: () => {}, reset: () => {} };
    const attempts = { connectTimeoutMillis: 1_000, connected: () => {} };
    const session = new Session(lastId, client, 0, slots.acquire(), attempts);
    const fiber = new SessionFiber(fiberOptions, { fibers: [], closed: false }, () => {
      throw new Error("no fiber is started here");
    });
    open.add(session, fiber);
    return session;
  };
  const leave = (session: Session): void => {
    open.delete(session);
    slots.release(session.bytes);
  };
  return { open, come, leave };
};

const sourcesOf = (open: OpenSessions, now: () => number): Sources => ({
  open,
  view: (session, at) => ({
    id: session.id,
    client: session.address,
    backend: undefined,
    ageMillis: at - session.accepted,
    received: session.bytes.received,
    sent: session.bytes.sent,
    phase: "relaying",
  }),
  now,
  wire: { idleMillis: () => 7 },
});

const sampling = (open: OpenSessions, selection: Selection) =>
  Effect.clockWith((clock) =>
    sample(
      selection,
      sourcesOf(open, () => Number(clock.unsafeCurrentTimeNanos()) / 1e6),
    ),
  );

describe("the largest of many", () => {
  it.prop(
    "are as many as there may be, and no others",
    { keys: fc.array(fc.integer({ min: -50, max: 50 })), most: fc.integer({ min: 1, max: 20 }) },
    ({ keys, most }) => {
      const largest = new Largest<number>(most);
      for (const key of keys) largest.add(key, key);
      assert.deepStrictEqual(
        [...largest.values].sort((one, other) => other - one),
        [...keys].sort((one, other) => other - one).slice(0, most),
      );
    },
  );
});

describe("a sample of open sessions", () => {
  const hosts = ["10.0.0.1", "10.0.0.2"] as const;
  const life = fc.record({
    host: fc.constantFrom(...hosts),
    /** Between the two looks. */
    received: fc.nat(1_000),
    sent: fc.nat(1_000),
    leaves: fc.boolean(),
  });
  const order = fc.constantFrom<Selection["order"]>("longest", "busiest", "newest");

  it("has the first in its order, by what they carried meanwhile, and none that has ended or come", () =>
    fc.assert(
      fc.asyncProperty(
        fc.array(life, { maxLength: 40 }),
        order,
        fc.integer({ min: 1, max: 10 }),
        fc.boolean(),
        (lives, order, limit, ofOne) =>
          Effect.gen(function* () {
            const { come, leave, open } = listener();
            const sessions = lives.map((life) => ({ ...life, session: come(life.host) }));
            for (const { session } of sessions) session.bytes.received = 1_000_000;
            const client = ofOne ? (host: string) => host === hosts[0] : undefined;
            const fiber = yield* Effect.fork(sampling(open, { order, limit, client }));
            yield* Effect.repeat(Effect.zipRight(Effect.yieldNow(), TestClock.sleeps()), {
              until: Chunk.isNonEmpty,
            });
            for (const { received, sent, session } of sessions) {
              session.bytes.received += received;
              session.bytes.sent += sent;
            }
            const ended = sessions.filter(({ leaves }) => leaves);
            for (const { session } of ended) leave(session);
            // They get the slots of those that have ended.
            for (const _ of ended) come(hosts[0]).bytes.received = 9_000_000;
            yield* TestClock.adjust("1 second");
            const listed = yield* Fiber.join(fiber);

            const rateOf = ({ received, sent }: (typeof sessions)[number]) => received + sent;
            const selected = sessions.filter(({ host }) => client?.(host) !== false);
            const stays = selected.filter(({ leaves }) => !leaves);
            // Of the longest and the newest are chosen first, and those that end are missing then.
            const expected =
              order === "busiest"
                ? [...stays].sort((one, other) => rateOf(other) - rateOf(one)).slice(0, limit)
                : (order === "newest" ? [...selected].reverse() : selected)
                    .slice(0, limit)
                    .filter(({ leaves }) => !leaves);
            if (order === "busiest") {
              assert.deepStrictEqual(
                listed
                  .map(({ receivedPerSecond, sentPerSecond }) => receivedPerSecond + sentPerSecond)
                  .sort((one, other) => other - one),
                expected.map(rateOf),
              );
            } else {
              assert.sameMembers(
                listed.map(({ id }) => id),
                expected.map(({ session }) => session.id),
              );
            }
            for (const { id, idleMillis, received, receivedPerSecond, sentPerSecond } of listed) {
              const found =
                stays.find(({ session }) => session.id === id) ?? assert.fail(`${id} is not open`);
              assert.deepStrictEqual(
                [receivedPerSecond, sentPerSecond, received, idleMillis],
                [found.received, found.sent, 1_000_000 + found.received, 7],
              );
            }
          }).pipe(Effect.provide(TestContext.TestContext), Effect.runPromise),
      ),
      { numRuns: 200 },
    ));

  it.effect("is taken in slices", () =>
    Effect.gen(function* () {
      const { come, open } = listener();
      for (let n = 0; n < 10_000; n++) come(hosts[0]);
      let turns = 0;
      const meanwhile = yield* Effect.fork(
        Effect.forever(
          Effect.tap(TimeSlices.turn, () => {
            turns += 1;
          }),
        ),
      );
      const fiber = yield* Effect.fork(
        SingleSteps.inEachTurn(sampling(open, { order: "busiest", limit: 1_000 })),
      );
      yield* Effect.repeat(Effect.zipRight(TimeSlices.turn, TestClock.sleeps()), { until: Chunk.isNonEmpty });
      const before = turns;
      assert.isAtLeast(before, 150);
      yield* TestClock.adjust("1 second");
      assert.lengthOf(yield* Fiber.join(fiber), 1_000);
      assert.isAtLeast(turns - before, 200);
      yield* Fiber.interrupt(meanwhile);
    }),
  );
});
