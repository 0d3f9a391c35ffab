import { assert, describe, it } from "@effect/vitest";
import { EMFILE, EPERM } from "../../../src/transport/linux/Libc.js";
import { type Pipe, Pipes } from "../../../src/transport/linux/Pipes.js";
import { simulated } from "./simulation/Simulated.js";

const mebibyte = 1024 * 1024;

/** Pipes of a kernel, and how often it was asked for one. */
const pipesOf = ({ broken = (): boolean => false, narrow = false } = {}) => {
  const { kernel } = simulated();
  let asked = 0;
  const { libc } = kernel;
  const pipes = new Pipes({
    ...libc,
    pipe: (ends) => {
      asked += 1;
      return broken() ? -EMFILE : libc.pipe(ends);
    },
    setPipeSize: (fd, bytes) => (narrow ? -EPERM : libc.setPipeSize(fd, bytes)),
  });
  const all = (): Array<Pipe> => {
    const taken: Array<Pipe> = [];
    for (let pipe = pipes.acquire(); pipe !== undefined; pipe = pipes.acquire()) taken.push(pipe);
    return taken;
  };
  return { kernel, pipes, all, asked: () => asked };
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
    const again = Array.from({ length: 1_000 }, () => pipes.acquire());
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
    const pipe = pipes.acquire();
    assert.isDefined(pipe);
    if (pipe === undefined) return;
    pipe.filled = 1;
    pipes.release(pipe);
    assert.strictEqual(kernel.open, before);
  });

  it("does not ask a kernel again and again that has none, and asks again later", () => {
    let broken = true;
    const { asked, pipes } = pipesOf({ broken: () => broken });
    for (let i = 0; i < 257; i++) assert.isUndefined(pipes.acquire());
    assert.strictEqual(asked(), 1);
    broken = false;
    assert.isDefined(pipes.acquire());
    assert.strictEqual(asked(), 2);
  });

  it("leaves nothing of a pipe that cannot be made big enough", () => {
    const { kernel, pipes } = pipesOf({ narrow: true });
    const before = kernel.open;
    assert.isUndefined(pipes.acquire());
    assert.strictEqual(kernel.open, before);
  });
});
