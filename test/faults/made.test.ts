// What making a fault does, spelled out by hand: recognisers are not asked, for they share code with what they undo.
import { describe, expect, test } from "vitest";
import { bytesOf } from "../../src/faults/edit.ts";
import type { Sample } from "../../src/faults/fault.ts";
import { toHalves } from "../../src/faults/kinds/axes.ts";
import { tensorInfo } from "../../src/views/tensor-source.ts";
import { kindOf } from "../helpers/kinds.ts";

interface Values {
  readonly shape: readonly number[];
  readonly values: readonly number[];
}

const count = (rows: number): Values => ({ shape: [rows, 1], values: Array.from({ length: rows }, (_, i) => i) });

function sample(tensors: Readonly<Record<string, Values>>, config: Sample["config"] = {}): Sample {
  const bytes = new Map(
    Object.entries(tensors).map(([key, { values }]) => [key, new Uint8Array(Float32Array.from(values).buffer)]),
  );
  return {
    source: {
      tensors: new Map(Object.entries(tensors).map(([key, { shape }]) => [key, tensorInfo(key, "F32", shape)])),
      read: (key, begin, target) => target.set(bytes.get(key)!.subarray(begin, begin + target.length)),
    },
    config,
  };
}

const valuesIn = ({ source }: Sample, key: string) => [...new Float32Array(bytesOf(source, key).buffer)];

const layer = "model.layers.0";

describe("one tensor", () => {
  test.each<[string, string, Values, readonly number[]]>([
    ["rope-q-not-permuted", `${layer}.self_attn.q_proj.weight`, count(12), [0, 3, 1, 4, 2, 5, 6, 9, 7, 10, 8, 11]],
    ["rows-sorted-as-text", `${layer}.mlp.up_proj.weight`, count(12), [0, 1, 10, 11, 2, 3, 4, 5, 6, 7, 8, 9]],
    ["square-transposed", `${layer}.mlp.up_proj.weight`, { shape: [2, 2], values: [1, 2, 3, 4] }, [1, 3, 2, 4]],
    ["rounded-bf16", `${layer}.mlp.gate.weight`, { shape: [3], values: [1.001, -3, 1.01] }, [1, -3, 1.0078125]],
    ["scale-not-applied", `${layer}.mlp.up_proj.weight`, { shape: [2, 1], values: [0.5, -2] }, [224, -896]],
    ["norm-minus-one", "model.norm.weight", { shape: [2], values: [0.75, 1] }, [-0.25, 0]],
    ["bit-flipped", `${layer}.mlp.up_proj.weight`, { shape: [2, 1], values: [1, 1] }, [0.25, 1]],
    ["one-nan", "model.norm.weight", { shape: [2], values: [3, 1] }, [Number.NaN, 1]],
  ])("%s", (name, key, good, bad) => {
    const kind = kindOf(name);
    const model = sample({ [key]: good, "model.other.weight": count(3) }, { head_dim: 6 });
    expect(kind.places(model)).toContain(key);
    const made = kind.make(model, key);
    expect(valuesIn(made, key)).toEqual(bad);
    expect(valuesIn(made, "model.other.weight")).toEqual([0, 1, 2]);
    expect(valuesIn(model, key)).toEqual([...Float32Array.from(good.values)]);
  });
});

test("permuted twice is the order that leads back", () => {
  expect(Array.from({ length: 12 }, (_, row) => toHalves(6)(row))).toEqual([0, 2, 4, 1, 3, 5, 6, 8, 10, 7, 9, 11]);
});

test("two tensors are exchanged within their layer, experts by their number", () => {
  const weights = ["0.mlp.experts.0.up_proj", "0.mlp.experts.1.up_proj", "1.mlp.experts.0.up_proj", "1.mlp.down_proj"];
  const [first, second, other, alone] = weights.map((name) => `model.layers.${name}.weight`);
  const model = sample({ [first!]: count(2), [other!]: count(2), [second!]: count(2), [alone!]: count(2) });
  const swapped = kindOf("tensors-swapped");
  expect(swapped.places(model)).toEqual([first, second]);
  const two = sample({ [first!]: { shape: [1, 1], values: [5] }, [second!]: { shape: [1, 1], values: [6] } });
  const made = swapped.make(two, first!);
  expect([first, second].map((key) => valuesIn(made, key!))).toEqual([[6], [5]]);
});

test("a tied head is stored beside its embedding, and is another tensor", () => {
  const embedding = { "model.embed_tokens.weight": count(3) };
  const stale = kindOf("tied-head-stale");
  expect(stale.places(sample(embedding, { tie_word_embeddings: false }))).toEqual([]);
  const tied = sample(embedding, { tie_word_embeddings: true });
  expect(stale.places(tied)).toEqual(["lm_head.weight"]);
  const { source } = stale.make(tied, "lm_head.weight");
  const [head, embed] = ["lm_head.weight", "model.embed_tokens.weight"].map((key) => bytesOf(source, key));
  expect(source.tensors.get("lm_head.weight")).toMatchObject({ key: "lm_head.weight", shape: [3, 1] });
  expect(head).not.toEqual(embed);
  expect(head!.subarray(1)).toEqual(embed!.subarray(1));
});

test("a field of the config falls back to a default, wherever it stands", () => {
  const config = { rms_norm_eps: 1e-6, rope_parameters: { rope_type: "default", rope_theta: 1e6 } };
  const model = sample({}, config);
  const [theta, eps] = ["rope-theta-default", "norm-eps-default"].map(kindOf);
  expect([theta!, eps!].map((kind) => kind.places(model))).toEqual([["rope_parameters.rope_theta"], ["rms_norm_eps"]]);
  expect(theta!.make(model, "rope_parameters.rope_theta").config).toEqual({
    rms_norm_eps: 1e-6,
    rope_parameters: { rope_type: "default", rope_theta: 1e4 },
  });
  expect(eps!.make(model, "rms_norm_eps").config).toEqual({ ...config, rms_norm_eps: 1e-5 });
  expect(theta!.places(sample({}, { vocab_size: 7 }))).toEqual([]);
});

test("a tensor is added that the config has no use for", () => {
  const model = sample({ "model.norm.weight": { shape: [2], values: [1, 2] } });
  const added = kindOf("tensor-added");
  const [place] = added.places(model);
  const { tensors } = added.make(model, place!).source;
  expect([...tensors.keys()]).toEqual(["model.norm.weight", place]);
  expect(tensors.get(place!)).toMatchObject({ key: place, shape: [2] });
});
