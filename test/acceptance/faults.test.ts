// What must not pass, through the built command: a wrong model exits 1, a broken file exits 3, and nothing is left behind.
import { cpSync, existsSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import type { JsonObject } from "../../src/base/json.ts";
import { bytesOf } from "../../src/faults/edit.ts";
import type { Kind } from "../../src/faults/kinds/kind.ts";
import { openSafetensors } from "../../src/formats/safetensors/open.ts";
import { fixture } from "../helpers/fixtures.ts";
import { kindOf } from "../helpers/kinds.ts";
import { scratch } from "../helpers/scratch.ts";
import { edit, run } from "./command.ts";

const llama = fixture("llama3/split");
const qwen = fixture("qwen3/split");

function copyOf(folder: string): string {
  const copy = join(scratch(), "copy");
  cpSync(folder, copy, { recursive: true });
  return copy;
}

/** A copy of the model with a fault in one place of its file or of its config. */
function faulty(folder: string, kind: Kind, place: string): string {
  const copy = copyOf(folder);
  const config = join(copy, "config.json");
  const good: JsonObject = JSON.parse(readFileSync(config, "utf8"));
  const checkpoint = openSafetensors(folder);
  const bad = kind.make({ source: checkpoint, config: good }, place);
  writeFileSync(config, JSON.stringify(bad.config));
  edit(copy, (of) => {
    for (const key of checkpoint.tensors.keys()) of(key).set(bytesOf(bad.source, key));
  });
  checkpoint.close();
  return copy;
}

describe("a wrong model fails parity, against the golden and against torchtitan's checkpoint", () => {
  test.each<[string, typeof llama, string, string]>([
    ["queries not permuted", llama, "rope-q-not-permuted", "model.layers.0.self_attn.q_proj.weight"],
    ["gate and up swapped in one layer", qwen, "tensors-swapped", "model.layers.0.mlp.gate_proj.weight"],
    ["theta 1e6 → 1e4", qwen, "rope-theta-default", "rope_parameters.rope_theta"],
    ["eps 1e-5 → 1e-6", llama, "norm-eps-default", "rms_norm_eps"],
    ["one NaN", llama, "one-nan", "model.norm.weight"],
  ])("%s", (_, { hf, native, golden }, name, place) => {
    const kind = kindOf(name);
    const copy = faulty(hf, kind, place);
    const alone = run("parity", copy, "--golden", golden, "--backend", "cpu");
    expect([alone.code, alone.json.verdict]).toEqual([1, "fail"]);
    const both = run("parity", native, copy, "--config-a", hf, "--backend", "cpu");
    expect([both.code, both.json.verdict, both.json.cause.code]).toEqual([1, "fail", kind.code]);
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
