import { assert, describe, it } from "@effect/vitest";
import { addressOf } from "../../src/libc/UnixDatagrams.js";

describe("the address of a Unix socket", () => {
  it("is a path with an end, or a name in the abstract namespace without one", () => {
    assert.deepStrictEqual([...(addressOf("/run/n") ?? [])], [1, 0, ...Buffer.from("/run/n"), 0]);
    assert.deepStrictEqual([...(addressOf("@n/x") ?? [])], [1, 0, 0, ...Buffer.from("n/x")]);
  });

  it("is none when it is neither, or too long", () => {
    for (const name of ["", "/", "@", "run/n", "vsock:2:1234", `/${"n".repeat(107)}`]) {
      assert.isUndefined(addressOf(name), name);
    }
    assert.isDefined(addressOf(`/${"n".repeat(106)}`));
  });
});
