// One forward pass of random Llamas, 512 tokens, each run a whole process: start, load, compute. Beside it the same job in
// transformers, where `python3` has it (or the Python that CONVERT_CHECKPOINT_PYTHON names). Targets on two cores: at most
// 1.3× transformers' time for ~1 B at a sixth of its memory, at most 0.5× for ~100 M.
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describeAdapter } from "../../dist/numerics/webgpu/device/adapter.js";
import { measure, median } from "./measure.mjs";
import { writeRandomLlama } from "./random-llama.mjs";

const tokens = 512;
const rounds = 3;
const models = {
  "~100 M": { dim: 768, ffn: 2048, vocab: 32000, layers: 12, heads: 12, kvHeads: 4, tied: true },
  "~1 B": { dim: 2048, ffn: 8192, vocab: 32000, layers: 16, heads: 32, kvHeads: 8, tied: true },
};
const here = (name) => fileURLToPath(new URL(name, import.meta.url));

async function availableBackends() {
  try {
    console.log(`webgpu: ${(await describeAdapter()).name}`);
    return ["wasm", "webgpu"];
  } catch (error) {
    console.log(`webgpu: ${error.message}`);
    return ["wasm"];
  }
}

function pythonWithTransformers() {
  const python = process.env.CONVERT_CHECKPOINT_PYTHON ?? "python3";
  try {
    const code = "import transformers, torch; print(transformers.__version__, torch.__version__)";
    const versions = execFileSync(python, ["-c", code], { stdio: ["ignore", "pipe", "ignore"] }).toString();
    const [transformers, torch] = versions.trim().split(" ");
    return { python, label: `transformers ${transformers}, torch ${torch}` };
  } catch {
    return null;
  }
}

async function bench(directory, [name, model], backends, theirs) {
  const folder = join(directory, name.replaceAll(/\W/g, ""));
  const parameters = writeRandomLlama(folder, model);
  console.log(`${name}: ${(parameters / 1e6).toFixed(0)} M parameters, ${tokens} tokens`);
  const ids = join(directory, "ids.json");
  writeFileSync(ids, JSON.stringify(Array.from({ length: tokens }, (_, i) => (i * 7919 + 13) % model.vocab)));
  const subjects = backends.map((backend) => ({
    name: backend,
    run: () => measure(process.execPath, [here("forward-once.mjs"), folder, ids, backend]),
  }));
  if (theirs)
    subjects.push({ name: theirs.label, run: () => measure(theirs.python, [here("forward-once.py"), folder, ids]) });
  const results = subjects.map(() => []);
  for (let round = 0; round < rounds; round++)
    for (const [i, subject] of subjects.entries()) results[i].push(await subject.run());
  const reference = theirs ? results.at(-1) : null;
  for (const [i, subject] of subjects.entries()) {
    const seconds = median(results[i].map((result) => result.seconds));
    const cpu = median(results[i].map((result) => result.cpuSeconds));
    const peak = Math.max(...results[i].map((result) => result.peakBytes));
    let beside = "";
    if (reference && results[i] !== reference) {
      const ratio = (of) => median(results[i].map((result, round) => of(result) / of(reference[round]))).toFixed(2);
      const [a, b] = [results[i][0], reference[0]].map(({ out }) => JSON.parse(out.trim().split("\n").at(-1)).argmax);
      const same = a.filter((id, t) => id === b[t]).length;
      beside = `  ${ratio(({ seconds }) => seconds)}× its time, ${ratio(({ peakBytes }) => peakBytes)}× its memory, ${same} of ${tokens} top-1 the same`;
    }
    console.log(
      `  ${subject.name.padEnd(36)}${seconds.toFixed(1).padStart(7)} s ${cpu.toFixed(1).padStart(7)} cpu-s ${(peak / 1e6).toFixed(0).padStart(6)} MB${beside}`,
    );
  }
  rmSync(folder, { recursive: true });
}

export async function run() {
  const backends = await availableBackends();
  const theirs = pythonWithTransformers();
  if (theirs === null) console.log("no Python with transformers here: nothing to compare with");
  const directory = mkdtempSync(join(tmpdir(), "convert-checkpoint-bench-"));
  try {
    for (const model of Object.entries(models)) await bench(directory, model, backends, theirs);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}
