import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";
import { SuiteDuration } from "./scripts/SuiteDuration.js";

// Set by CI, which counts the tests of every Node version from these files.
const resultsFolder = process.env["TEST_RESULTS"];

const json = (outputFile: string): ["json", { outputFile: string }] => ["json", { outputFile }];

export default defineConfig({
  // The examples import the package by its name, as those who install it do.
  resolve: { alias: { "zeitwork-load-balancer": fileURLToPath(new URL("src/index.ts", import.meta.url)) } },
  test: {
    reporters: [
      new SuiteDuration(),
      "default",
      ...(resultsFolder ? [json(`${resultsFolder}/${process.version}.json`)] : []),
    ],
    pool: "forks",
    // End-to-end tests start servers of their own: more workers than two starve each other on a small machine.
    maxWorkers: 2,
    minWorkers: 1,
    // What hangs is cut off. No test takes a fifth of that on a machine that does nothing else, for slower ones.
    testTimeout: 180_000,
    hookTimeout: 180_000,
    setupFiles: ["test/support/TurnAfterEach.ts"],
    projects: [
      {
        extends: true,
        test: {
          name: "unit",
          include: ["test/**/*.test.ts"],
          exclude: ["test/bench/**", "test/e2e/**", "test/long/**", "test/service/**"],
        },
      },
      {
        extends: true,
        test: {
          name: "e2e",
          include: ["test/e2e/**/*.test.ts"],
          globalSetup: ["scripts/build-before-e2e.ts"],
          // Some start a dozen processes, each of which takes a second or, on a busy machine, several.
          testTimeout: 600_000,
          hookTimeout: 600_000,
        },
      },
    ],
  },
});
