// vLLM's runtime names against what its loaders do with HF's tensors: rows of the shards, one below the other.
//   vllm-project/vllm@0035bdf2b1ac243ef6f31eef27411b022461df8e:vllm/model_executor/models/llama.py
//   vllm-project/vllm@0014ec6c58e1b74e660a1e6d059b5689716183ff:vllm/model_executor/layers/fused_moe/layer.py
//   vllm-project/vllm@002d6073aa034d4f5545d45021b0e56d1f3c3593:vllm/model_executor/models/deepseek_v2.py
//   vllm-project/vllm@f0e26957c6af4d1ce3d0642120b011949da65885:vllm/model_executor/models/mixtral.py
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { adapters } from "../../adapters/registry.ts";
import type { Checkpoint } from "../../src/formats/checkpoint.ts";
import { openCheckpoint } from "../../src/model/open.ts";
import { converted, hashes, sorted } from "../helpers/converted.ts";
import { tableCases } from "../helpers/fixtures.ts";
import { compiledTable, detected, layoutOf } from "../helpers/layouts.ts";
import { edited, tensorsOf } from "./headers.ts";
import { refusal } from "./refuse.ts";

const directory = mkdtempSync(join(tmpdir(), "vllm-"));
afterAll(() => rmSync(directory, { recursive: true }));

const cases = tableCases.filter(
  ({ family, natives }) =>
    ["llama3", "qwen3", "qwen3_moe", "deepseek_v3", "mixtral", "glm4_moe"].includes(family) &&
    natives.native !== undefined,
);

function bytesOf(checkpoint: Checkpoint, key: string): Buffer {
  const bytes = Buffer.alloc(checkpoint.tensors.get(key)!.byteLength);
  checkpoint.read(key, 0, bytes);
  return bytes;
}

/** HF's keys whose bytes, one after the other, are a fused tensor's; null for a tensor that is not fused. */
function shardsOf(key: string, hf: Checkpoint): string[] | null {
  const at = (pattern: RegExp, names: readonly string[]) =>
    pattern.test(key) ? names.map((name) => key.replace(pattern, `.${name}.`)) : null;
  const experts = /^(.*\.experts)\.(w13|w2)_weight$/.exec(key);
  if (experts !== null) {
    const [, prefix, which] = experts;
    const [gateUp, down] = prefix!.endsWith(".block_sparse_moe.experts")
      ? [["w1", "w3"], ["w2"]]
      : [["gate_proj", "up_proj"], ["down_proj"]];
    const names = which === "w13" ? gateUp! : down!;
    const count = new Set([...hf.tensors.keys()].flatMap((name) => /\.experts\.(\d+)\./.exec(name)?.[1] ?? [])).size;
    return Array.from({ length: count }, (_, e) => names.map((name) => `${prefix}.${e}.${name}.weight`)).flat();
  }
  return (
    at(/\.qkv_proj\./, ["q_proj", "k_proj", "v_proj"]) ??
    at(/\.gate_up_proj\./, ["gate_proj", "up_proj"]) ??
    at(/\.fused_qkv_a_proj\./, ["q_a_proj", "kv_a_proj_with_mqa"])
  );
}

describe.each(cases.map((one) => [one.name, one] as const))("%s", (name, one) => {
  const target = join(directory, name.replace("/", "-"));
  let hf: Checkpoint;
  let vllm: Checkpoint;
  beforeAll(async () => {
    await converted(one.hf, target, { to: "vllm", format: "safetensors" });
    hf = openCheckpoint(one.hf);
    vllm = openCheckpoint(target);
  });
  afterAll(() => {
    hf.close();
    vllm.close();
  });

  test("every tensor is the shards that vLLM's loader puts there, and every HF tensor is in one", () => {
    const used = [...vllm.tensors.keys()].flatMap((key) => {
      const own = key.replace(".mtp_block.", ".");
      const shards = shardsOf(own, hf) ?? [own];
      expect(bytesOf(vllm, key).equals(Buffer.concat(shards.map((shard) => bytesOf(hf, shard)))), key).toBe(true);
      return shards;
    });
    expect(used.toSorted()).toEqual([...hf.tensors.keys()].toSorted());
  });

  test("no tensor has a name that vLLM fuses", () => {
    const fused = /\.(?:[qkv]|gate|up)_proj\.|\.w[123]\.|\.(?:q_a_proj|kv_a_proj_with_mqa)\.|\.experts\.\d/;
    const apart = one.name.startsWith("deepseek_v3/noqlora") ? /\.(?:q_proj|kv_a_proj_with_mqa)\./ : /^$/;
    expect([...vllm.tensors.keys()].filter((key) => fused.test(key) && !apart.test(key))).toEqual([]);
  });

  test("is recognised, with its config and without", () => {
    for (const config of [null, JSON.parse(readFileSync(join(target, "config.json"), "utf8"))])
      expect(detected(adapters, vllm.tensors, config)).toMatchObject({
        layout: "vllm",
        adapter: { family: one.family },
      });
  });

  test("back to hf the files are those of the source, and by way of torchtitan the tensors are", async () => {
    await converted(target, `${target}-hf`);
    const file = "model.safetensors";
    expect(readFileSync(join(`${target}-hf`, file)).equals(readFileSync(join(one.hf, file)))).toBe(true);
    await converted(target, `${target}-tt`, { to: one.layout });
    await converted(`${target}-tt`, `${target}-tt-hf`);
    expect(sorted(hashes(`${target}-tt-hf`))).toEqual(sorted(hashes(one.hf)));
  });

  test("the ledger: a fused tensor missing, added, renamed or of another shape", () => {
    const adapter = adapters.find(({ family }) => family === one.family)!;
    const family = adapter.open(JSON.parse(readFileSync(join(one.hf, "config.json"), "utf8")), one.hf);
    const table = compiledTable(family, "vllm");
    for (const side of ["native", "hf"] as const) {
      const tensors = tensorsOf(table, side);
      for (const key of [...tensors.keys()].filter((each) => /layers\.1\.(?!mtp)/.test(each))) {
        const { shape } = tensors.get(key)!;
        const plan = (edit: (all: typeof tensors) => void) =>
          refusal(() => table.plan(side === "native" ? "toHf" : "fromHf", edited(tensors, edit)));
        expect(plan((all) => all.delete(key))).toContain(`"${key}"`);
        expect(plan((all) => all.set(`${key}_more`, all.get(key)!))).toContain(`"${key}_more"`);
        expect(plan((all) => all.set(key, { dtype: "F32", shape: shape.with(0, shape[0]! + 1) }))).toContain(
          `"${key}": expected`,
        );
        expect(
          plan((all) => {
            all.set(`${key}.renamed`, all.get(key)!);
            all.delete(key);
          }),
        ).toContain(key);
      }
    }
  });
});

test("later spellings of the experts are read", async () => {
  const one = cases.find(({ name }) => name === "qwen3_moe/untied")!;
  const adapter = adapters.find(({ family }) => family === one.family)!;
  const family = adapter.open(JSON.parse(readFileSync(join(one.hf, "config.json"), "utf8")), one.hf);
  const table = compiledTable(family, "vllm");
  const later = new Map(
    [...tensorsOf(table, "native")].map(([key, value]) => [
      key.replace(/\.experts\.(w\d+_weight)$/, ".experts.routed_experts.$1"),
      value,
    ]),
  );
  expect([...later.keys()].filter((key) => key.includes("routed_experts.w13_weight"))).not.toEqual([]);
  expect(table.plan("toHf", later).moves.map(({ key }) => key)).toEqual(
    table.plan("toHf", tensorsOf(table, "native")).moves.map(({ key }) => key),
  );
});

test.each(["llama3", "qwen3", "qwen3_moe", "deepseek_v3", "mixtral", "glm4_moe"])(
  "%s has no graph of this layout",
  (name) => {
    const adapter = adapters.find(({ family }) => family === name)!;
    const family = adapter.open(adapter.probes.at(-1)!, name);
    expect(refusal(() => layoutOf(family, "vllm").forward())).toMatch(/there is no forward graph/);
  },
);
