import { defineConfig } from "vitest/config";

const resultsFolder = process.env["TEST_RESULTS"];

const json = (outputFile: string): ["json", { outputFile: string }] => ["json", { outputFile }];

// The service under a real systemd: a command of its own, as it takes packages, a Debian, and root.
export default defineConfig({
  test: {
    reporters: ["default", ...(resultsFolder ? [json(`${resultsFolder}/systemd.json`)] : [])],
    include: ["test/service/**/*.test.ts"],
    globalSetup: ["scripts/prepare-hosts.ts"],
    pool: "forks",
    // Each file boots a host of its own.
    maxWorkers: 2,
    minWorkers: 1,
    // What hangs is cut off.
    testTimeout: 300_000,
    hookTimeout: 300_000,
  },
});
