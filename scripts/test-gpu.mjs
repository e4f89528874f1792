// Runs the tests that need a WebGPU adapter on the Vulkan driver of one's choice, and tells how far its numbers are from f64.
//   npm run test:gpu -- [--driver lavapipe|swiftshader|FILE.json] [test files…]     without --driver: what Vulkan finds first
// Kernels for adapters of other widths are left out on other drivers than lavapipe: these show what is computed, which is the
// same everywhere, and some compilers take minutes over them.
import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

process.chdir(fileURLToPath(new URL("..", import.meta.url)));

/** Where drivers say what they are, and what installs them on Debian. */
const DRIVERS = {
  lavapipe: {
    folders: ["/usr/share/vulkan/icd.d", "/usr/local/share/vulkan/icd.d", "/etc/vulkan/icd.d"],
    file: /^lvp_icd.*\.json$/,
    install: "sudo scripts/install-lavapipe.sh",
  },
  swiftshader: {
    folders: ["/usr/lib/chromium", "/usr/lib64/chromium-browser", "/usr/lib/chromium-browser", "/opt/google/chrome"],
    file: /^vk_swiftshader_icd\.json$/,
    install: "apt-get install chromium",
  },
};

function fail(message) {
  console.error(`test:gpu: ${message}`);
  process.exit(4);
}

function filesIn(folder) {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

/** The path of a driver's file. */
function driverFile(name) {
  const known = DRIVERS[name];
  if (known === undefined) return resolve(name);
  const [found] = known.folders.flatMap((folder) =>
    filesIn(folder)
      .filter((file) => known.file.test(file))
      .map((file) => join(folder, file)),
  );
  return found ?? fail(`${name} is not installed: ${known.install}, or --driver FILE.json`);
}

/** The adapter that Dawn takes, in a process of its own: the loader reads its environment once. */
function adapterUnder(env) {
  const program = `
    const adapter = await (await import("webgpu")).create([]).requestAdapter({ powerPreference: "high-performance" });
    console.log(JSON.stringify(adapter && (adapter.info.description || adapter.info.device)));
    process.exit();`;
  const { stdout, stderr } = spawnSync(process.execPath, ["--input-type=module", "--eval", program], {
    env,
    encoding: "utf8",
  });
  const name = JSON.parse(stdout.trim() || "null");
  return name ?? fail(`WebGPU finds no adapter${stderr === "" ? "" : `\n${stderr}`}`);
}

const gpuFiles = () =>
  readdirSync("test", { recursive: true })
    .filter((name) => name.endsWith(".test.ts"))
    .map((name) => join("test", name))
    .filter((file) => /\bdescribe(Gpu|MatrixUnits|OtherWidths)\(/.test(readFileSync(file, "utf8")));

/** The largest mean KLs of whole models, by what was compared. */
function showFigures(tests) {
  const measured = tests.filter(({ meta }) => meta?.klMeanNats !== undefined);
  for (const of of new Set(measured.map(({ meta }) => meta.of))) {
    const most = measured
      .filter(({ meta }) => meta.of === of)
      .toSorted((a, b) => b.meta.klMeanNats - a.meta.klMeanNats);
    const told = most.slice(0, 3).map(({ fullName, meta }) => {
      const [name] = fullName.replace(/^.*whole models /, "").split(":");
      return `${meta.klMeanNats.toExponential(1)} (${name})`;
    });
    console.log(`${of}: mean KL in nats/token up to ${told.join(", ")}`);
  }
}

const { values, positionals } = parseArgs({ options: { driver: { type: "string" } }, allowPositionals: true });
const file = values.driver === undefined ? undefined : driverFile(values.driver);
const env = {
  ...process.env,
  CONVERT_CHECKPOINT_REQUIRE_GPU: "1",
  // The loader's name for it since 1.3.207, and the one before.
  ...(file === undefined ? {} : { VK_DRIVER_FILES: file, VK_ICD_FILENAMES: file }),
};
const adapter = adapterUnder(env);
console.log(`adapter: ${adapter}${file === undefined ? "" : `, by ${file}`}`);
const names = adapter.includes("llvmpipe") ? String.raw`\[gpu\]` : String.raw`^(?=.*\[gpu\])(?!.*\[other widths\])`;

const scratch = mkdtempSync(join(tmpdir(), "convert-checkpoint-gpu-"));
const results = join(scratch, "results.json");
const vitest = join(createRequire(import.meta.url).resolve("vitest/package.json"), "..", "vitest.mjs");
const reporters = ["--reporter=default", "--reporter=json", `--outputFile.json=${results}`];
const files = positionals.length > 0 ? positionals : gpuFiles();
// One file at a time: they would share the processor or the GPU, and some of these drivers are slow.
const args = [vitest, "run", ...reporters, "--maxWorkers=1", "--testTimeout=600000", "-t", names, ...files];
const { status } = spawnSync(process.execPath, args, { env, stdio: "inherit" });
const tests = JSON.parse(readFileSync(results, "utf8")).testResults.flatMap((each) => each.assertionResults);
rmSync(scratch, { recursive: true, force: true });
const passed = tests.filter((test) => test.status === "passed").length;
const failed = tests.filter((test) => test.status === "failed").length;
console.log(`\n${adapter}`);
showFigures(tests);
console.log(`${passed} GPU tests passed, ${failed} failed`);
process.exit(status === 0 && failed === 0 && passed > 0 ? 0 : 1);
