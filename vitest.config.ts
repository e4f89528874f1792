import { availableParallelism } from "node:os";
import { relative } from "node:path";
import { fileURLToPath } from "node:url";
import { configDefaults, defineConfig } from "vitest/config";
import { BaseSequencer, type TestSpecification } from "vitest/node";
import { ALONE, LONGEST } from "./test/order.ts";

const root = fileURLToPath(new URL(".", import.meta.url));

/** A process is kept for the next file only while that is one of its own kind: files alone come first. */
class AloneThenLongest extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const place = ({ project, moduleId }: TestSpecification) => {
      const at = LONGEST.indexOf(relative(root, moduleId).replaceAll("\\", "/"));
      if (project.name === "alone") return -1;
      return at === -1 ? LONGEST.length : at;
    };
    return (await super.sort(files)).sort((a, b) => place(a) - place(b));
  }
}

const shared = {
  testTimeout: 120_000,
  hookTimeout: 120_000,
  // Dawn must live in a process of its own: several test files at once in threads of one process would share it.
  pool: "forks",
  // Threads of the code under test begin with a file of TypeScript, which Node 20 does not run by itself.
  setupFiles: ["./test/helpers/equal-bytes.ts"],
  execArgv: ["--import", new URL("./test/helpers/typescript/threads.mjs", import.meta.url).href],
} as const;

export default defineConfig({
  test: {
    maxWorkers: availableParallelism(),
    sequence: { sequencer: AloneThenLongest },
    projects: [
      { test: { ...shared, name: "alone", include: [...ALONE] } },
      {
        // One after another in the same processes: what they import is loaded, and compiled, once.
        test: {
          ...shared,
          name: "together",
          isolate: false,
          include: ["test/**/*.test.ts"],
          exclude: [...configDefaults.exclude, ...ALONE],
        },
      },
    ],
  },
});
