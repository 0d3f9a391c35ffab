import { assert, describe, it } from "@effect/vitest";
import { FastCheck as fc } from "effect";
import { distance, nearest, ofSettings } from "../../src/config/Misspelling.js";
import { variables } from "../../src/config/Settings.js";

const known = variables.map(({ name }) => name);

/** One slip of the hand: a character left out, doubled, replaced or exchanged with the next. */
const slips = (word: string, at: number, letter: string): ReadonlyArray<string> => [
  word.slice(0, at) + word.slice(at + 1),
  word.slice(0, at) + letter + word.slice(at),
  word.slice(0, at) + letter + word.slice(at + 1),
  word.slice(0, at) + (word[at + 1] ?? "") + (word[at] ?? "") + word.slice(at + 2),
];

describe("the distance of two words", () => {
  it("is at most one for each slip, the same both ways, and nothing for the same word", () => {
    fc.assert(
      fc.property(
        fc.string({ minLength: 1, maxLength: 12 }),
        fc.nat(11),
        fc.string({ minLength: 1, maxLength: 1 }),
        (word, place, letter) => {
          assert.strictEqual(distance(word, word), 0);
          for (const slip of slips(word, place % word.length, letter)) {
            assert.isAtMost(distance(word, slip), 1);
            assert.strictEqual(distance(slip, word), distance(word, slip));
          }
        },
      ),
    );
  });

  it("is the same under a bound that it keeps, and above any other bound", () => {
    const word = fc.string({ unit: fc.constantFrom("A", "B", "_"), maxLength: 8 });
    fc.assert(
      fc.property(word, word, fc.nat(4), (one, other, most) => {
        const apart = distance(one, other);
        const bounded = distance(one, other, most);
        if (apart <= most) assert.strictEqual(bounded, apart);
        else assert.isAbove(bounded, most);
      }),
      { numRuns: 2_000 },
    );
  });

  it("is the length where the other word is empty", () => {
    assert.strictEqual(distance("", "PORT"), 4);
    assert.strictEqual(distance("PORT", ""), 4);
  });
});

describe("the nearest known word", () => {
  it.each([
    ["BACKEND", "BACKENDS"],
    ["PROT", "PORT"],
    ["LOGLEVEL", "LOG_LEVEL"],
    ["HEALTHCHECK_TIMEOUT", "HEALTH_CHECK_TIMEOUT"],
    ["OPERATOR_URI", "OPERATOR_URL"],
    ["DRAIN_TIMOUT", "DRAIN_TIMEOUT"],
  ])("of %s is %s", (word, name) => {
    assert.strictEqual(nearest(word, known), name);
  });

  it("of what other programs have is none", () => {
    for (const word of [
      "PATH",
      "HOME",
      "HOST",
      "USER",
      "TERM",
      "SHELL",
      "LANG",
      "NODE_OPTIONS",
      "NODE_ENV",
      "NO_COLOR",
      "INVOCATION_ID",
      "JOURNAL_STREAM",
      "KUBERNETES_SERVICE_HOST",
      "KUBERNETES_PORT",
      "REDIS_PORT",
      "OTEL_EXPORTER_OTLP_PROTOCOL",
      "OTEL_RESOURCE_ATTRIBUTES",
      "OTEL_EXPORTER_OTLP_TIMEOUT",
    ]) {
      assert.isUndefined(nearest(word, known), word);
    }
  });

  it("is never the word itself", () => {
    for (const name of known) assert.isUndefined(nearest(name, [name]));
  });
});

describe("misspelt settings", () => {
  it("are named with what was probably meant; settings and other programs' variables are not", () => {
    assert.deepStrictEqual(ofSettings(["PATH", "HEALTH_PORT", "HEALHT_PORT", "backend"]), [
      { names: ["HEALHT_PORT"], line: '"HEALHT_PORT" is no setting; did you mean HEALTH_PORT?' },
      { names: ["backend"], line: '"backend" is no setting; did you mean BACKENDS?' },
    ]);
  });
});
