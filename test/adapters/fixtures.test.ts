// Every checkpoint that torchtitan wrote, mapped by our tables, against the bytes that torchtitan's own adapters gave.
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { adapters } from "../../adapters/registry.ts";
import type { JsonObject } from "../../src/base/json.ts";
import type { Adapter } from "../../src/family/adapter.ts";
import type { Family } from "../../src/family/family.ts";
import { openDcp } from "../../src/formats/dcp/open.ts";
import { openSafetensors } from "../../src/formats/safetensors/open.ts";
import { modelKeys } from "../../src/model/keys.ts";
import { compileTable, type Direction } from "../../src/table/plan.ts";
import { renamedSource, type TensorSource } from "../../src/views/tensor-source.ts";
import { addingTo } from "../../src/views/values/adding.ts";
import { type FixtureCase, isTextAlone, type TensorHash, tableCases } from "../helpers/fixtures.ts";
import { compiledTable, detected, nativeLayout } from "../helpers/layouts.ts";
import { applyMove, type Bytes } from "../helpers/moves.ts";

const configOf = (one: FixtureCase): JsonObject => JSON.parse(readFileSync(`${one.hf}/config.json`, "utf8"));

const textAlone = (tensors: ReadonlyMap<string, TensorHash>) =>
  new Map([...tensors].filter(([key]) => !/^(model\.)?vision_/.test(key)));

function adapterOf(one: FixtureCase): Adapter {
  const adapter = adapters.find(({ family }) => family === one.family);
  if (adapter === undefined) throw new Error(`no adapter ${one.family}`);
  return adapter;
}

const familyOf = (one: FixtureCase, folder = one.hf): Family =>
  adapterOf(one).open({ ...configOf(one), ...(isTextAlone(folder) ? { vision_config: null } : {}) }, one.hf);

/** The model's tensors; a training checkpoint holds the trainer's state too. */
function openNative(folder: string): TensorSource & { close(): void } {
  const checkpoint = openDcp(folder);
  const own = new Map(modelKeys(checkpoint).map((key) => [key, key]));
  return { ...renamedSource(checkpoint, own), close: () => checkpoint.close() };
}

function payload(checkpoint: TensorSource, key: string): Bytes {
  const { shape, byteLength } = checkpoint.tensors.get(key)!;
  const data = new Uint8Array(byteLength);
  checkpoint.read(key, 0, data);
  return { shape, data };
}

/** How the case's Hugging Face files spell their keys, as the record of a conversion from them would tell. */
function spellingOf(one: FixtureCase, table: ReturnType<typeof compileTable>) {
  const hf = openSafetensors(one.hf);
  const { spelling } = table.plan("fromHf", hf.tensors);
  hf.close();
  return spelling;
}

function converted(one: FixtureCase, direction: Direction, folder: string, checkpoint: TensorSource) {
  const family = familyOf(one, folder);
  const table = compiledTable(family, one.layout);
  const isSpelled = direction === "toHf" && !isTextAlone(folder);
  const plan = table.plan(direction, checkpoint.tensors, isSpelled ? { spelling: spellingOf(one, table) } : {});
  const source = addingTo(checkpoint, plan.plus);
  // Buffers that upstream's from_hf leaves to the model are made again here: they have no source
  const tensors = plan.moves
    .filter(({ fill }) => fill === undefined)
    .map((move) => {
      const { shape, data } = applyMove(move, (key) => payload(source, key));
      const dtype = checkpoint.tensors.get(move.pieces[0]!.source)!.dtype;
      return [move.key, { dtype, shape, sha256: createHash("sha256").update(data).digest("hex") }] as const;
    });
  return { plan, tensors: Object.fromEntries(tensors) };
}

describe.each(tableCases.map((one) => [one.name, one] as const))("%s", (_, one) => {
  test.each(Object.entries({ ...one.natives, ...one.textNatives }))("%s → hf is what to_hf gives", (_name, folder) => {
    const checkpoint = openNative(folder);
    const { plan, tensors } = converted(one, "toHf", folder, checkpoint);
    expect(tensors).toEqual(Object.fromEntries(isTextAlone(folder) ? textAlone(one.toHf) : one.toHf));
    // Megatron-Core leaves a tied output layer out
    const hasHead = [...checkpoint.tensors.keys()].some((key) => /(^|\.)(output|lm_head)\.weight$/.test(key));
    expect(plan.equalities.map(({ of }) => of)).toEqual(
      one.tied && hasHead ? [expect.stringMatching(/(^|\.)(tok_embeddings|embed_tokens)\.weight$/)] : [],
    );
    expect(plan.dropped.filter(({ key, equals }) => !/\.(?:moe|mlp)\.expert_bias/.test(key) || equals !== 0)).toEqual(
      [],
    );
    checkpoint.close();
  });

  test.each(Object.entries({ ...one.hfs, ...one.textHfs }))("%s → native is what from_hf gives", (_name, folder) => {
    const checkpoint = openSafetensors(folder);
    const made = converted(one, "fromHf", folder, checkpoint).tensors;
    // Megatron-Core's specs have one of two names of a norm; files are written with both
    for (const tensor of compiledTable(familyOf(one), one.layout).tensors("native"))
      if (tensor.need === "alias" && !one.fromHf.has(tensor.of!)) delete made[tensor.of!];
    expect(made).toEqual(Object.fromEntries(isTextAlone(folder) ? textAlone(one.fromHf) : one.fromHf));
    checkpoint.close();
  });

  test.each([true, false])("is recognised (with its config: %s)", (withConfig) => {
    if (!withConfig && adapterOf(one).generic) return;
    const config = withConfig ? configOf(one) : null;
    const native = openNative(one.native);
    const hf = openSafetensors(one.hf);
    const adapter = adapterOf(one);
    // Keys of Qwen3-Next with experts in each layer are Qwen3.5's, too, in this layout: the user says which.
    const isTwin = !withConfig && one.name === "qwen3_next/tied";
    const recognise = (settled = {}) => detected(adapters, native.tensors, config, settled);
    if (isTwin) expect(() => recognise()).toThrow("qwen3_5_moe megatron, qwen3_next megatron");
    expect(recognise(isTwin ? { family: adapter.family } : {})).toEqual({ adapter, layout: one.layout });
    expect(detected(adapters, hf.tensors, config)).toEqual({ adapter, layout: "hf" });
    native.close();
    hf.close();
  });
});

test("a rule left out of the table shows in the bytes", () => {
  const one = tableCases.find(({ name }) => name === "llama3/split")!;
  const family = familyOf(one);
  const layout = nativeLayout(family, one.layout);
  const rules = layout.rules().map((rule) => {
    if (rule.kind !== "map" || rule.op !== "permuteRope") return rule;
    return { ...rule, hf: rule.hf.map((term, i) => ({ ...term, dims: rule.native[i]!.dims })) };
  });
  const checkpoint = openDcp(one.native);
  const moves = compileTable(rules, layout.axes()).plan("toHf", checkpoint.tensors).moves;
  const wrong = moves.filter((move) => {
    const { data } = applyMove(move, (key) => payload(checkpoint, key));
    return createHash("sha256").update(data).digest("hex") !== one.toHf.get(move.key)?.sha256;
  });
  expect(wrong.map(({ key }) => key)).toEqual(
    [0, 1].flatMap((l) => ["q", "k"].map((name) => `model.layers.${l}.self_attn.${name}_proj.weight`)),
  );
  checkpoint.close();
});
