// Models with experts (random-moe.mjs) to torchtitan and back: stacked, stacked and transposed, decoded from FP8 and MXFP4, as
// ratios to `cp` of what is written, in the same round, each with memory at hand as in convert.bench.mjs. KINDS=llama4,gptoss
// takes some of them, ROUNDS=5 medians of so many.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { copies, table } from "./convert.bench.mjs";
import { command, measure } from "./measure.mjs";
import { MODELS, writeRandomMoe } from "./random-moe.mjs";

const kinds = process.env.KINDS?.split(",") ?? Object.keys(MODELS);
/** These come back as plain BF16. */
const DECODED = ["mxfp4", "fp8"];

export async function run() {
  for (const kind of kinds) {
    const directory = mkdtempSync(join(tmpdir(), "convert-checkpoint-bench-"));
    try {
      await both(kind, directory);
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  }
}

async function both(kind, directory) {
  const [hf, native, back, out] = ["hf", "native", "back", "out"].map((name) => join(directory, name));
  const bytes = writeRandomMoe(hf, kind);
  const isDecoded = DECODED.includes(kind);
  const run = (from, to, ...options) => [command, from, to, "--quiet", "--no-fsync", ...options];
  await measure(process.execPath, run(hf, native));
  await measure(process.execPath, run(native, back, ...(isDecoded ? ["--encoding", "none"] : [])));
  const same = isDecoded
    ? ""
    : (await measure("cmp", [join(hf, "model.safetensors"), join(back, "model.safetensors")])).out;
  if (same !== "") throw new Error("the file did not come back byte for byte");
  console.log(`${kind}: ${(bytes / 1e9).toFixed(2)} GB`);
  const ways = [["HF → torchtitan", hf, native]];
  if (!isDecoded) ways.push(["torchtitan → HF", native, hf]);
  for (const [name, from, made] of ways) {
    const ours = (...options) => [process.execPath, (source, to) => run(source, to, ...options)];
    const { cp } = copies(made);
    await table(name, { from, to: out, made }, { cp, sealed: ours(), "--no-seal": ours("--no-seal") });
  }
}
