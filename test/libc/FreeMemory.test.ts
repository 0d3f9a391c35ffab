import { readFileSync } from "node:fs";
import { assert, describe, it } from "@effect/vitest";
import * as FreeMemory from "../../src/libc/FreeMemory.js";
import * as Library from "../../src/libc/Library.js";

/** In MB. */
const resident = (): number =>
  Number(/^RssAnon:\s+(\d+) kB$/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1]) / 1000;

/** musl has no malloc_trim. */
const glibc =
  process.platform === "linux" &&
  "glibcVersionRuntime" in (process.report.getReport() as { readonly header: object }).header;

describe.skipIf(!glibc)("memory that was freed", () => {
  it("goes back to the system, which the C library would keep it from", async () => {
    const koffi = await Library.load();
    const { call } = Library.functionsOf(koffi);
    const malloc = call("uintptr_t malloc(size_t)");
    const memset = call("uintptr_t memset(uintptr_t, int, size_t)");
    const free = call("void free(uintptr_t)");
    // Less than what it would take from the system piece by piece.
    const size = 100_000;
    const pieces = Array.from({ length: 1_000 }, () => malloc(size));
    const behind = malloc(size);
    for (const piece of pieces) memset(piece, 1, size);
    for (const piece of pieces) free(piece);
    const before = resident();
    FreeMemory.giveBack(koffi);
    assert.isBelow(resident(), before - 80);
    free(behind);
  });
});
