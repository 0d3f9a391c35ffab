import { defineConfig } from "vitest/config";

// Tests that take as long as what they are about: a command of their own.
export default defineConfig({
  test: {
    include: ["test/long/**/*.test.ts"],
    globalSetup: ["scripts/build-before-e2e.ts"],
    pool: "forks",
    testTimeout: 60_000,
    // The one hook lets it all happen, which takes eleven minutes; what hangs is cut off.
    hookTimeout: 30 * 60_000,
  },
});
