import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    testTimeout: 120_000,
    hookTimeout: 120_000,
    // Dawn must live in a process of its own: several test files at once in threads of one process would share it.
    pool: "forks",
    maxWorkers: 2,
  },
});
