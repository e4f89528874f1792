// Keeps what V8 makes of the bundle in FOLDER while it does what most runs do: node scripts/compile.mjs FOLDER
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

const { compile, compiled, run, source, sums } = createRequire(import.meta.url)(
  join(resolve(process.argv[2]), "load.js"),
);
const config = {
  architectures: ["LlamaForCausalLM"],
  model_type: "llama",
  vocab_size: 1000,
  hidden_size: 256,
  intermediate_size: 512,
  num_hidden_layers: 4,
  num_attention_heads: 2,
  num_key_value_heads: 2,
  max_position_embeddings: 2048,
  rms_norm_eps: 1e-5,
  rope_theta: 500000,
  tie_word_embeddings: false,
  torch_dtype: "bfloat16",
};

const text = source();
const script = compile(text);
const { runCli } = await run(script).cli();
const folder = mkdtempSync(join(tmpdir(), "convert-checkpoint-build-"));
try {
  const [model, hf, dcp, back] = ["config", "hf", "dcp", "back"].map((name) => join(folder, name));
  mkdirSync(model);
  writeFileSync(join(model, "config.json"), JSON.stringify(config));
  for (const argv of [
    ["--help"],
    ["init", model, hf],
    ["inspect", hf],
    ["plan", hf, dcp],
    [hf, dcp],
    ["inspect", dcp],
    [dcp, back],
    ["diff", hf, back],
  ]) {
    const code = await runCli(argv, {
      stdout: () => undefined,
      stderr: (text) => process.stderr.write(text),
      stderrStream: process.stderr,
      columns: undefined,
      stdoutColor: false,
      stderrColor: false,
      debug: true,
      signals: { signal: new AbortController().signal, hold: () => undefined, release: () => undefined },
    });
    if (code !== 0) throw new Error(`${argv.join(" ")}: ended with ${code}`);
  }
} finally {
  rmSync(folder, { recursive: true });
}
const code = script.createCachedData();
writeFileSync(compiled, Buffer.concat([sums(text, code), code]));
