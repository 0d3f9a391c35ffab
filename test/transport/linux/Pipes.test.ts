import { assert, describe, it } from "@effect/vitest";
import { EMFILE, EPERM } from "../../../src/transport/linux/Libc.js";
import { type Pipe, Pipes } from "../../../src/transport/linux/Pipes.js";
import { simulated } from "./simulation/Simulated.js";

const mebibyte = 1024 * 1024;

/** One that keeps its pipe. */
const holder = { giveBack: () => false };

/** Pipes of a kernel, and how often it was asked for one. */
const pipesOf = ({ broken = (): boolean => false, narrow = false } = {}) => {
  const { kernel } = simulated();
  let asked = 0;
  const { libc } = kernel;
  let now = 0;
  const pipes = new Pipes(
    {
      ...libc,
      pipe: (ends) => {
        asked += 1;
        return broken() ? -EMFILE : libc.pipe(ends);
      },
      setPipeSize: (fd, bytes) => (narrow ? -EPERM : libc.setPipeSize(fd, bytes)),
    },
    () => now,
  );
  const all = (): Array<Pipe> => {
    const taken: Array<Pipe> = [];
    for (let pipe = pipes.acquire(holder); pipe !== undefined; pipe = pipes.acquire(holder)) taken.push(pipe);
    return taken;
  };
  const pass = (millis: number): void => {
    now += millis;
  };
  return { kernel, pipes, all, asked: () => asked, pass };
};

const sum = (pipes: ReadonlyArray<Pipe>): number => pipes.reduce((total, { size }) => total + size, 0);

describe("Pipes", () => {
  it("has big ones first, smaller ones later, and none beyond 32 MiB in all", () => {
    const { all } = pipesOf();
    const taken = all();
    assert.strictEqual(taken[0]?.size, mebibyte);
    assert.strictEqual(taken.at(-1)?.size, mebibyte / 16);
    assert.isAtMost(sum(taken), 32 * mebibyte);
    assert.isAbove(sum(taken), 31 * mebibyte);
  });

  it("has as many again when all were given back", () => {
    const { all, pipes } = pipesOf();
    const first = all();
    for (const pipe of first) pipes.release(pipe);
    // Spares at once; the rest when it asks again, which it does not for a while after a refusal.
    const again = Array.from({ length: 1_000 }, () => pipes.acquire(holder));
    assert.isAbove(sum(again.filter((pipe) => pipe !== undefined)), 31 * mebibyte);
  });

  it("keeps eight open for the next ones, and none after its end", () => {
    const { all, kernel, pipes } = pipesOf();
    const before = kernel.open;
    for (const pipe of all()) pipes.release(pipe);
    assert.strictEqual(kernel.open - before, 16);
    pipes.close();
    assert.strictEqual(kernel.open, before);
  });

  it("never gives one again that had bytes in it", () => {
    const { kernel, pipes } = pipesOf();
    const before = kernel.open;
    const pipe = pipes.acquire(holder);
    assert.isDefined(pipe);
    if (pipe === undefined) return;
    pipe.filled = 1;
    pipes.release(pipe);
    assert.strictEqual(kernel.open, before);
  });

  it("does not ask a kernel again and again that has none, and asks again later", () => {
    let broken = true;
    const { asked, pipes } = pipesOf({ broken: () => broken });
    for (let i = 0; i < 257; i++) assert.isUndefined(pipes.acquire(holder));
    assert.strictEqual(asked(), 1);
    broken = false;
    assert.isDefined(pipes.acquire(holder));
    assert.strictEqual(asked(), 2);
  });

  it("leaves nothing of a pipe that cannot be made big enough", () => {
    const { kernel, pipes } = pipesOf({ narrow: true });
    const before = kernel.open;
    assert.isUndefined(pipes.acquire(holder));
    assert.strictEqual(kernel.open, before);
  });

  it("takes one from whoever has waited longest, and from nobody who has not waited for a second", () => {
    const { all, pass, pipes } = pipesOf();
    const gave: Array<number> = [];
    const taken = all();
    taken.forEach((pipe, i) => {
      pipe.holder = {
        giveBack: () => {
          gave.push(i);
          pipes.release(pipe);
          return true;
        },
      };
    });
    const [first, second, third] = taken as [Pipe, Pipe, Pipe]; // there are more
    pipes.wait(second);
    pass(600);
    pipes.wait(first);
    pipes.wait(third);
    // After a refusal nobody is asked for a while.
    const request = (): Pipe | undefined => {
      for (let i = 0; i < 256; i++) pipes.acquire(holder);
      return pipes.acquire(holder);
    };
    assert.isUndefined(request());
    assert.deepStrictEqual(gave, []);
    pass(400);
    assert.isDefined(request());
    assert.deepStrictEqual(gave, [1]);
    // The third one's reader has taken something meanwhile.
    third.waitingSince = undefined;
    pass(1_000);
    assert.isDefined(pipes.acquire(holder));
    assert.deepStrictEqual(gave, [1, 0]);
    assert.isUndefined(pipes.acquire(holder));
  });

  it("goes on to the next one where the first cannot give its pipe back", () => {
    const { all, pass, pipes } = pipesOf();
    const [first, second] = all() as [Pipe, Pipe]; // there are more
    pipes.wait(first);
    pass(1);
    pipes.wait(second);
    second.holder = {
      giveBack: () => {
        pipes.release(second);
        return true;
      },
    };
    pass(1_000);
    for (let i = 0; i < 256; i++) pipes.acquire(holder);
    assert.isDefined(pipes.acquire(holder));
  });
});
