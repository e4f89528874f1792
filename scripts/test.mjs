// Builds, runs every test, and closes with the counts, GPU tests apart: how many ran, and if none could, why.
//   npm test [-- [--built] [arguments of vitest]]     --built: dist/ was made of these sources, and is not made again
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

process.chdir(fileURLToPath(new URL("..", import.meta.url)));
const run = (args, env = {}) =>
  spawnSync(process.execPath, args, { stdio: "inherit", env: { ...process.env, ...env } }).status ?? 1;

const given = process.argv.slice(2);
const isBuilt = given.includes("--built") && existsSync("dist/man/convert-checkpoint.1");
if (!isBuilt && run(["scripts/build.mjs"]) !== 0) process.exit(1);

const scratch = mkdtempSync(join(tmpdir(), "convert-checkpoint-test-"));
const results = join(scratch, "results.json");
const vitest = join(createRequire(import.meta.url).resolve("vitest/package.json"), "..", "vitest.mjs");
const status = run([
  vitest,
  "run",
  "--reporter=default",
  "--reporter=json",
  `--outputFile.json=${results}`,
  ...given.filter((argument) => argument !== "--built"),
]);
if (!existsSync(results)) {
  rmSync(scratch, { recursive: true, force: true });
  console.log("\nThe test runner wrote no results.\n0 passed, 1 failed");
  process.exit(1);
}
const tests = JSON.parse(readFileSync(results, "utf8")).testResults.flatMap((file) => file.assertionResults);
rmSync(scratch, { recursive: true, force: true });

// test/helpers/gpu.ts and matrices.ts mark suites that need a WebGPU adapter, or one with subgroup matrices, with these;
// "[linux]" marks suites on places that no other system has.
const gpu = tests.filter((t) => t.fullName.includes("[gpu]"));
const matrices = tests.filter((t) => t.fullName.includes("[matrices]"));
const linux = tests.filter((t) => t.fullName.includes("[linux]"));
const count = (list, ...states) => list.filter((t) => states.includes(t.status)).length;
const passed = count(tests, "passed");
const failed = count(tests, "failed");
const notRun = tests.length - passed - failed;
const gpuNotRun = gpu.length - count(gpu, "passed", "failed");
const matricesNotRun = matrices.length - count(matrices, "passed", "failed");
console.log(
  gpuNotRun === 0
    ? `\nGPU tests: ${count(gpu, "passed")} of ${gpu.length} passed on a WebGPU adapter.`
    : `\nGPU tests: ${gpuNotRun} of ${gpu.length} DID NOT RUN: this machine offers no WebGPU adapter (see \`convert-checkpoint doctor\`).`,
);
console.log(
  matricesNotRun === 0
    ? `Subgroup matrices: ${count(matrices, "passed")} of ${matrices.length} passed.`
    : `Subgroup matrices: ${matricesNotRun} of ${matrices.length} tests DID NOT RUN: no adapter of this machine offers them in f16 with sums in f32.`,
);
const linuxNotRun = linux.length - count(linux, "passed", "failed");
if (linuxNotRun > 0)
  console.log(`Linux: ${linuxNotRun} of ${linux.length} tests DID NOT RUN: this system has no /proc and no such /dev.`);
const required = process.env.CONVERT_CHECKPOINT_REQUIRE_GPU === "1";
const unexpected = notRun - gpuNotRun - matricesNotRun - linuxNotRun;
if (unexpected > 0) console.log(`${unexpected} other tests did not run: that is a defect.`);
if (required && gpuNotRun > 0)
  console.log("CONVERT_CHECKPOINT_REQUIRE_GPU=1: GPU tests that did not run count as failed.");
const failures = Math.max(failed + unexpected + (required ? gpuNotRun : 0), status === 0 ? 0 : 1);
console.log(`${passed} passed, ${failures} failed`);
process.exit(failures > 0 ? 1 : 0);
