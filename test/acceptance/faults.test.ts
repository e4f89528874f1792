// What must not pass, through the built command: a wrong model exits 1, a broken file exits 3, and nothing is left behind.
import { cpSync, existsSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { fixture } from "../helpers/fixtures.ts";
import { scratch } from "../helpers/scratch.ts";
import { edit, run } from "./command.ts";

const llama = fixture("llama3/split");
const qwen = fixture("qwen3/split");

function copyOf(folder: string): string {
  const copy = join(scratch(), "copy");
  cpSync(folder, copy, { recursive: true });
  return copy;
}

function editConfig(directory: string, change: (text: string) => string): void {
  const path = join(directory, "config.json");
  const text = readFileSync(path, "utf8");
  expect(change(text)).not.toBe(text);
  writeFileSync(path, change(text));
}

function swap(a: Buffer, b: Buffer): void {
  const kept = Buffer.from(a);
  b.copy(a);
  kept.copy(b);
}

/** [rows of (heads, 2, half)] → [(heads, half, 2)], in place: undoes the permutation of queries or keys. */
function interleaveHalves(weight: Buffer, heads: number, headDim: number): void {
  const before = Buffer.from(weight);
  const row = weight.length / (heads * headDim);
  for (let head = 0; head < heads; head++)
    for (let i = 0; i < headDim; i++) {
      const from = head * headDim + (i % 2) * (headDim / 2) + Math.floor(i / 2);
      before.copy(weight, (head * headDim + i) * row, from * row, (from + 1) * row);
    }
}

describe("a wrong model fails parity, against the golden and against torchtitan's checkpoint", () => {
  const layer = "model.layers.0";
  test.each<[string, typeof llama, (copy: string) => void]>([
    [
      "queries not permuted",
      llama,
      (copy) => edit(copy, (of) => interleaveHalves(of(`${layer}.self_attn.q_proj.weight`), 6, 10)),
    ],
    [
      "gate and up swapped in one layer",
      qwen,
      (copy) => edit(copy, (of) => swap(of(`${layer}.mlp.gate_proj.weight`), of(`${layer}.mlp.up_proj.weight`))),
    ],
    [
      "theta 1e6 → 1e4",
      qwen,
      (copy) => editConfig(copy, (text) => text.replace('"rope_theta": 1000000.0', '"rope_theta": 10000.0')),
    ],
    [
      "eps 1e-5 → 1e-6",
      llama,
      (copy) => editConfig(copy, (text) => text.replace('"rms_norm_eps": 1e-05', '"rms_norm_eps": 1e-06')),
    ],
    ["one NaN", llama, (copy) => edit(copy, (of) => of("model.norm.weight").writeFloatLE(Number.NaN, 8))],
  ])("%s", (_, { hf, native, golden }, damage) => {
    const copy = copyOf(hf);
    damage(copy);
    const alone = run("parity", copy, "--golden", golden, "--backend", "cpu");
    expect([alone.code, alone.json.verdict]).toEqual([1, "fail"]);
    const both = run("parity", native, copy, "--config-a", hf, "--backend", "cpu");
    expect([both.code, both.json.verdict]).toEqual([1, "fail"]);
  });
});

describe("a broken file is refused, and leaves nothing behind", () => {
  const flip = (path: string, at: number): void => {
    const bytes = readFileSync(path);
    bytes[at] = bytes[at]! ^ 1;
    writeFileSync(path, bytes);
  };
  test.each<[string, string, (copy: string) => void]>([
    [
      "one flipped bit in a rank's file",
      llama.natives["native-fsdp4"]!,
      (copy) => flip(join(copy, "__2_0.distcp"), 900),
    ],
    ["a rank's file missing", llama.natives["native-fsdp4"]!, (copy) => rmSync(join(copy, "__3_0.distcp"))],
    ["an unfinished save", llama.native, (copy) => rmSync(join(copy, ".metadata"))],
    ["a truncated shard", qwen.hf, (copy) => truncateSync(join(copy, "model.safetensors"), 5000)],
    ["a shard missing", llama.hfs["hf-sharded"]!, (copy) => rmSync(join(copy, readdirSync(copy).sort().at(-2)!))],
    [
      "a tensor that no rule knows",
      qwen.hf,
      (copy) => {
        const path = join(copy, "model.safetensors");
        writeFileSync(
          path,
          readFileSync(path).toString("latin1").replace("layers.0.mlp.up_proj", "layers.0.mlp.xp_proj"),
          "latin1",
        );
      },
    ],
    ["another family's config", llama.hf, (copy) => cpSync(join(qwen.hf, "config.json"), join(copy, "config.json"))],
  ])("%s", (_, folder, damage) => {
    const copy = copyOf(folder);
    const parent = scratch();
    damage(copy);
    const config = existsSync(join(copy, "config.json")) ? [] : ["--config", llama.hf];
    const { code, json } = run("convert", copy, join(parent, "target"), ...config);
    expect(code).toBe(3);
    expect(json.error.message).not.toBe("");
    expect(json.error.help).not.toBe("");
    expect(readdirSync(parent)).toEqual([]);
  });

  test("an existing target is refused and stays", () => {
    const target = copyOf(qwen.hf);
    const { code } = run("convert", llama.native, target, "--config", llama.hf);
    expect(code).toBe(3);
    expect(readdirSync(target).sort()).toEqual(readdirSync(qwen.hf).sort());
  });
});
