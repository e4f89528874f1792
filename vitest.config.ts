import { availableParallelism } from "node:os";
import { defineConfig } from "vitest/config";
import { BaseSequencer } from "vitest/node";

/** Short files that run the built command many times take longest: begun last, they would run alone. */
class LongestFirst extends BaseSequencer {
  async sort(files) {
    const isLong = ({ moduleId }) => moduleId.includes("/test/acceptance/");
    const sorted = await super.sort(files);
    return [...sorted.filter(isLong), ...sorted.filter((file) => !isLong(file))];
  }
}

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    testTimeout: 120_000,
    hookTimeout: 120_000,
    // Dawn must live in a process of its own: several test files at once in threads of one process would share it.
    pool: "forks",
    // Threads of the code under test begin with a file of TypeScript, which Node 20 does not run by itself.
    execArgv: ["--import", new URL("./test/helpers/typescript/threads.mjs", import.meta.url).href],
    maxWorkers: availableParallelism(),
    sequence: { sequencer: LongestFirst },
  },
});
