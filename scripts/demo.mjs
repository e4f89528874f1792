// The main job on real input, end to end: a checkpoint that torchtitan saved from two ranks becomes a Hugging Face model,
// both run forward and agree, the model agrees with what transformers computed, and the way back gives the same bits.
import { spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

process.chdir(fileURLToPath(new URL("..", import.meta.url)));
const command = "dist/bin/convert-checkpoint.js";
if (!existsSync(command)) {
  console.error("dist/ is missing: run `npm ci` first");
  process.exit(1);
}
const native = "fixtures/demo/native";
const config = "fixtures/demo/hf";
const out = "demo-out";
rmSync(out, { recursive: true, force: true });
mkdirSync(out);

/** Shows and runs one command; ends the demo where it does not exit as it should. */
function step(title, args, expected = 0) {
  const shown = args.map((arg) => (/\s/.test(arg) ? JSON.stringify(arg) : arg)).join(" ");
  console.log(`\n── ${title}\n$ npx convert-checkpoint ${shown}\n`);
  const { status } = spawnSync(process.execPath, [command, ...args], { stdio: "inherit" });
  if (status === expected) return;
  console.error(`\nThe demo stopped: exit code ${status}, expected ${expected}.`);
  process.exit(1);
}

step("1. torchtitan's checkpoint becomes a model for transformers", [
  "convert",
  native,
  `${out}/hf`,
  "--config",
  config,
]);
step("2. Both run forward on a text, each through a graph of its own, and agree, under the one config that both have", [
  "parity",
  native,
  `${out}/hf`,
  "--config",
  config,
  "--prompt",
  "@fixtures/demo/prompt.txt",
]);
step("3. … and with the logits that transformers itself computed, in f64: they tell whether that config is right", [
  "parity",
  `${out}/hf`,
  "--golden",
  "fixtures/demo/golden.safetensors",
]);
step("4. The way back gives the same bits", ["convert", `${out}/hf`, `${out}/dcp`]);
step("   tensor by tensor", ["diff", native, `${out}/dcp`, "--config", config]);

cpSync(`${out}/hf`, `${out}/wrong`, { recursive: true });
const broken = JSON.parse(readFileSync(`${out}/wrong/config.json`, "utf8"));
if (broken.rope_parameters) broken.rope_parameters.rope_theta *= 100;
else broken.rope_theta *= 100;
writeFileSync(`${out}/wrong/config.json`, JSON.stringify(broken, null, 2));
step(
  "5. The same weights with another rope_theta in one side's config: it loads, and the check fails, as it must (exit 1)",
  ["parity", native, `${out}/wrong`, "--config", config, "--prompt", "@fixtures/demo/prompt.txt"],
  1,
);
console.log(`\nDone: ${out}/hf is a model directory that transformers loads. Next: npx convert-checkpoint --help`);
