// What to run once on a machine with a GPU that nobody tried: its adapter, fixtures' parities on it, then speed (`npm run bench
// layers`). Ten minutes at most are meant; needs what `npm ci` makes, and no network.
//   npm run gpu -- [--any-adapter] [--out FILE.json]     --any-adapter: also on one that computes on the CPU, to try the script
import { spawnSync } from "node:child_process";
import { existsSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

process.chdir(fileURLToPath(new URL("..", import.meta.url)));
const { values } = parseArgs({ options: { "any-adapter": { type: "boolean" }, out: { type: "string" } } });
const command = "dist/bin/convert-checkpoint.js";
if (!existsSync(command)) throw new Error("dist/ is missing: run `npm ci` first");

function run(...args) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [command, ...args, "--json"], { encoding: "utf8" });
  if (stdout === "") throw new Error(`${args.join(" ")}: exit ${status}\n${stderr}`);
  return { status, ...JSON.parse(stdout) };
}

const { webgpu } = run("doctor").backends;
if (!webgpu.available) {
  console.error(`${webgpu.reason}; ${webgpu.help}`);
  process.exit(4);
}
const units = "shape" in webgpu.matrices ? JSON.stringify(webgpu.matrices.shape) : `none: ${webgpu.matrices.unused}`;
console.log(
  `${webgpu.name}${webgpu.isFallback ? " (software)" : ""}, ${webgpu.kernels} kernels, matrix units ${units}`,
);
if (webgpu.isFallback && !values["any-adapter"]) {
  console.error("this adapter computes on the CPU: see VK_DRIVER_FILES, or take --any-adapter");
  process.exit(4);
}

/** Dense, a mixture of experts, a vision tower, FP8: against upstream's logits, and the trainer's side against Hugging Face's. */
const MODELS = ["demo", "qwen3_moe/untied", "qwen3_vl/tied", "deepseek_v3/fp8"];
const parities = MODELS.flatMap((name) => {
  const at = (file) => `fixtures/${name}/${file}`;
  const on = [
    "--backend",
    "webgpu",
    ...(existsSync(at("inputs.safetensors")) ? ["--inputs", at("inputs.safetensors")] : []),
  ];
  const both = [at("native"), at("hf"), "--config", at("hf"), "--accept-known"];
  return [
    ["the golden", ["parity", at("hf"), "--golden", at("golden.safetensors"), ...on]],
    ["the other side", ["parity", ...both, ...on]],
  ].map(([against, args]) => {
    const { verdict, metrics, seconds, error } = run(...args);
    const figures =
      metrics === undefined
        ? error.message
        : `mean KL ${metrics.klMeanNats.toExponential(1)} nats/token, top-1 ${metrics.top1}`;
    console.log(`${verdict === "pass" ? "✓" : "✗"} ${name} against ${against}: ${figures}, ${seconds?.toFixed(1)} s`);
    return { name, against, verdict, metrics, seconds, error };
  });
});

console.log("");
const bench = spawnSync(process.execPath, ["test/bench/run.mjs", "layers"], { encoding: "utf8" });
console.log(bench.stdout + bench.stderr);
const isGood = parities.every(({ verdict }) => verdict === "pass") && bench.status === 0;
if (values.out !== undefined) {
  writeFileSync(values.out, `${JSON.stringify({ webgpu, parities, layers: bench.stdout.split("\n") }, null, 2)}\n`);
}
console.log(isGood ? "every parity passed" : "FAILED");
process.exit(isGood ? 0 : 1);
