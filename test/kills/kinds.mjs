// Conversions of every kind, on random models of some 20 to 80 MB that `init` makes from configs.
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { must } from "./place.mjs";

const fixtures = fileURLToPath(new URL("../../fixtures/", import.meta.url));

const MODELS = {
  llama: {
    of: "llama3/bf16",
    change: {
      ...{ hidden_size: 512, intermediate_size: 1408, num_hidden_layers: 6, vocab_size: 8192 },
      ...{ num_attention_heads: 8, num_key_value_heads: 4, head_dim: 64 },
    },
  },
  moe: {
    of: "qwen3_moe/untied",
    change: {
      hidden_size: 256,
      moe_intermediate_size: 192,
      num_local_experts: 24,
      num_hidden_layers: 4,
      vocab_size: 6000,
    },
  },
  fp8: {
    of: "deepseek_v3/fp8",
    change: {
      hidden_size: 384,
      moe_intermediate_size: 256,
      n_routed_experts: 12,
      num_hidden_layers: 3,
      vocab_size: 4000,
    },
  },
};

function make(place, name, seed, ...more) {
  const { of, change } = MODELS[name];
  const config = JSON.parse(readFileSync(join(fixtures, of, "hf/config.json"), "utf8"));
  const folder = join(place, `config-${name}`);
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, "config.json"), JSON.stringify({ ...config, ...change }));
  const model = join(place, `${name}-${seed}`);
  must(["init", folder, model, "--seed", seed, "--no-fsync", ...more]);
  return model;
}

/**
 * `more` are the options of a kind; those of `other` make another plan. `strange` gives another source of the same shape.
 */
export function kindsIn(place) {
  const llama = make(place, "llama", "a");
  const moe = make(place, "moe", "a", "--max-shard-size", "7MB");
  const fp8 = make(place, "fp8", "a", "--encoding", "fp8");
  const native = (name, source, ...more) => {
    const target = join(place, `native-${name}`);
    must([source, target, "--no-fsync", ...more]);
    return target;
  };
  const llamaRanks = native("llama", llama, "--ranks", "5");
  const moeNative = native("moe", moe, "--ranks", "3");
  const meta = native("meta", llama, "--to", "meta", "--ranks", "2");
  const fp8Native = native("fp8", fp8);
  const kinds = [
    { name: "llama hf → torchtitan", source: llama, target: "out", more: [] },
    {
      name: "llama DCP of 5 ranks → hf, in shards",
      source: llamaRanks,
      target: "out",
      more: ["--max-shard-size", "9MB"],
    },
    { name: "llama DCP of 5 ranks → hf file", source: llamaRanks, target: "out.safetensors", more: [] },
    { name: "llama hf → torchtitan .pt", source: llama, target: "out.pt", more: ["--format", "pt"] },
    { name: "llama hf → meta of 4 ranks", source: llama, target: "out", more: ["--to", "meta", "--ranks", "4"] },
    { name: "meta of 2 ranks → hf", source: meta, target: "out", more: [] },
    { name: "moe hf → torchtitan of 4 ranks", source: moe, target: "out", more: ["--ranks", "4"] },
    { name: "moe DCP of 3 ranks → hf", source: moeNative, target: "out", more: [] },
    { name: "fp8 hf → torchtitan", source: fp8, target: "out", more: [] },
    { name: "torchtitan → fp8 hf", source: fp8Native, target: "out", more: ["--encoding", "fp8"] },
    {
      name: "raw: DCP of 5 ranks → safetensors",
      source: llamaRanks,
      target: "out",
      more: ["--to", "raw"],
      other: ["--to", "raw", "--format", "pt"],
    },
    {
      name: "cast: moe hf → torchtitan, bf16",
      source: moe,
      target: "out",
      more: ["--dtype", "bf16"],
      other: ["--dtype", "f16"],
    },
    {
      name: "cast: llama hf → torchtitan, f32",
      source: llama,
      target: "out",
      more: ["--dtype", "f32", "--ranks", "2"],
      other: ["--dtype", "f16", "--ranks", "2"],
    },
  ];
  let number = 0;
  const strange = (source) => () => {
    number += 1;
    return [source === llama ? make(place, "llama", `b${number}`) : llama];
  };
  return kinds.map((kind) => ({ other: [...kind.more, "--dtype", "f16"], ...kind, strange: strange(kind.source) }));
}
