/**
 * Counts how often V8's collector ran in the data threads of a process that was started with `--trace-gc`: V8 writes a
 * line on stdout for each collection, with the address of the thread's heap.
 *
 * The main thread's heap is the one of the first line: loading the program fills it before any other thread begins.
 */
const line = /^\[\d+:(0x[0-9a-f]+)\] +\d+ ms: (?:Scavenge|Mark-Compact)/;

export class Collections {
  #main: string | undefined;
  #rest = "";
  /** Of all data threads since the start. */
  count = 0;

  /** What the process has written; a line may come in pieces. */
  readonly read = (text: string): void => {
    const lines = (this.#rest + text).split("\n");
    this.#rest = lines.pop() ?? "";
    for (const each of lines) {
      const [, heap] = line.exec(each) ?? [];
      if (heap === undefined) continue;
      this.#main ??= heap;
      if (heap !== this.#main) this.count += 1;
    }
  };
}
