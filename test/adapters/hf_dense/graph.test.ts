// Faults in the mathematics of dense decoders: each must show against transformers' own logits.
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { ARCHITECTURES } from "../../../adapters/hf_dense/architectures.ts";
import type { Decoder, Layer } from "../../../adapters/hf_dense/config.ts";
import { parseDecoder } from "../../../adapters/hf_dense/decoder-config.ts";
import { hfForward } from "../../../adapters/hf_dense/hf.ts";
import { hfDense } from "../../../adapters/hf_dense/index.ts";
import { nativeForward } from "../../../adapters/hf_dense/native.ts";
import type { Forward } from "../../../numerics/graph.ts";
import { planForward } from "../../../numerics/shapes/plan.ts";
import type { JsonObject } from "../../../src/base/json.ts";
import { runParity } from "../../../src/parity/parity.ts";
import { FIXTURES, fixtureCases } from "../../helpers/fixtures.ts";
import { judged } from "../../helpers/judged.ts";
import { layoutOf, runBy } from "../../helpers/layouts.ts";
import { fixtureCase, hfSide, nativeSide } from "../../helpers/models.ts";
import { refusal } from "../refuse.ts";

const jsonOf = (name: string): JsonObject =>
  JSON.parse(readFileSync(`${FIXTURES}hf_dense/${name}/hf/config.json`, "utf8"));
const decoderOf = (name: string): Decoder =>
  parseDecoder(jsonOf(name), "config.json", fixtureCase(`hf_dense/${name}`).tied);

/** KL of the HF graph over a changed decoder against transformers. */
async function klOf(name: string, change: (decoder: Decoder) => Partial<Decoder>): Promise<number> {
  const decoder = decoderOf(name);
  const side = hfSide(`hf_dense/${name}`);
  const a = { ...side, layout: runBy(side.layout, hfForward({ ...decoder, ...change(decoder) })) };
  const { golden } = fixtureCase(`hf_dense/${name}`);
  return (await judged({ a, golden })).metrics.klMeanNats;
}

const attention = (change: (was: Decoder["attention"]) => Partial<Decoder["attention"]>) => (decoder: Decoder) => ({
  attention: { ...decoder.attention, ...change(decoder.attention) },
});
const layers = (change: (layer: Layer, l: number, all: readonly Layer[]) => Partial<Layer>) => (decoder: Decoder) => ({
  layers: decoder.layers.map((layer, l, all) => ({ ...layer, ...change(layer, l, all) })),
});
const pairs = (kind: "half" | "adjacent") => (decoder: Decoder) => ({ rotation: { ...decoder.rotation, pairs: kind } });

test("nothing changed, nothing found", async () => {
  expect(await klOf("glm4-bf16", () => ({}))).toBeLessThan(1e-13);
});

describe("a fault shows", () => {
  test.each<readonly [string, string, (decoder: Decoder) => Partial<Decoder>]>([
    ["the norm after attention left out", "glm4-bf16", (d) => ({ places: { ...d.places, afterAttention: null } })],
    ["the norm before the MLP left out", "gemma2-tied-bf16", (d) => ({ places: { ...d.places, beforeMlp: null } })],
    [
      "norms after instead of before",
      "mistral-bf16",
      ({ places: { beforeAttention, beforeMlp } }) => ({
        places: { beforeAttention: null, afterAttention: beforeAttention, beforeMlp: null, afterMlp: beforeMlp },
      }),
    ],
    ["w for 1 + w", "gemma2-tied-bf16", (d) => ({ norm: { ...d.norm, weight: "plain" } })],
    ["RMSNorm for LayerNorm", "olmo-bf16", (d) => ({ norm: { ...d.norm, kind: "rms" } })],
    ["a LayerNorm without its bias", "phi-bf16", (d) => ({ norm: { ...d.norm, bias: false } })],
    ["another eps", "nemotron-bf16", (d) => ({ norm: { ...d.norm, eps: 2 * d.norm.eps } })],
    ["attention and MLP one after the other", "cohere2-tied", () => ({ parallel: false, places: pre })],
    ["no norm of queries and keys", "exaone4-bf16", attention(() => ({ qkNorm: null }))],
    [
      "queries and keys normed after they are rotated",
      "exaone4-bf16",
      attention(({ qkNorm }) => ({ qkNorm: { ...qkNorm!, afterRope: true } })),
    ],
    [
      "RMSNorm for LayerNorm of queries and keys",
      "stablelm-bf16",
      attention(({ qkNorm }) => ({ qkNorm: { ...qkNorm!, norm: { ...qkNorm!.norm, kind: "rms" } } })),
    ],
    ["no bias of queries, keys and values", "phi-bf16", attention(() => ({ qkvBias: false }))],
    ["values that are not clipped", "olmo-bf16", attention(() => ({ clip: null }))],
    ["softcapping of scores dropped", "vaultgemma-tied-bf16", attention(() => ({ softcap: null }))],
    ["softcapping of logits dropped", "nanochat-bf16", (d) => ({ logits: { ...d.logits, softcap: null } })],
    ["another attention scale", "gemma2-tied-bf16", attention(({ headDim }) => ({ scale: headDim ** -0.5 }))],
    [
      "YaRN's factor left off the attention scale",
      "minicpm3-tied-bf16",
      attention(({ headDim }) => ({ scale: headDim ** -0.5 })),
    ],
    ["sinks left out", "granite_swa-tied-bf16", attention(() => ({ sinks: false }))],
    ["queries that do not grow", "ministral3-bf16", attention(() => ({ growth: null }))],
    ["one softmax instead of two", "diffllama-bf16", attention(() => ({ differential: false }))],
    ["windows ignored", "mistral-bf16", layers(() => ({ window: null }))],
    ["windows one token wider", "mistral-bf16", layers(({ window }) => ({ window: window! + 1 }))],
    [
      "windows of the next layer",
      "gemma3_text-tied-bf16",
      layers((_, l, all) => ({ window: all[(l + 1) % 3]!.window })),
    ],
    [
      "RoPE of the other kind of layer",
      "gemma3_text-tied-bf16",
      layers((_, l, all) => ({ rope: all[(l + 1) % 3]!.rope })),
    ],
    ["a layer without positions rotated", "cohere2-tied", layers((_, _l, all) => ({ rope: all[0]!.rope }))],
    [
      "a layer that rotates without positions",
      "cohere2-tied",
      layers((layer, l) => ({ rope: l === 0 ? null : layer.rope })),
    ],
    ["halves rotated for neighbours", "cohere2-tied", pairs("half")],
    ["halves rotated for neighbours, in a part of each head", "glm4-bf16", pairs("half")],
    ["neighbours rotated for halves", "olmo2", pairs("adjacent")],
    ["rotated the other way", "nanochat-bf16", (d) => ({ rotation: { ...d.rotation, minus: false } })],
    ["whole heads rotated", "phi-bf16", layers(({ rope }) => ({ rope: { ...rope!, dims: 12 } }))],
    [
      "short factors for a long text",
      "phi3-longrope-bf16",
      layers(({ rope }) => (rope?.kind === "longrope" ? { rope: { ...rope, long: rope.short } } : {})),
    ],
    ["the embedding's multiplier dropped", "granite-tied", () => ({ embedScale: 1 })],
    ["the residual's multiplier dropped", "granite-tied", () => ({ residualScale: 1 })],
    ["attention's multiplier dropped", "granite-tied", attention(({ headDim }) => ({ scale: headDim ** -0.5 }))],
    ["the scaling of logits dropped", "granite-tied", (d) => ({ logits: { ...d.logits, scale: 1 } })],
    ["the first norm dropped", "nanochat-bf16", () => ({ embedNorm: false })],
    ["relu for relu²", "nemotron-bf16", (d) => ({ mlp: { ...d.mlp, activation: "relu" } })],
    ["relu² for xIELU", "apertus", (d) => ({ mlp: { ...d.mlp, activation: "relu2" } })],
    ["exact GELU for its approximation", "phi-bf16", (d) => ({ mlp: { ...d.mlp, activation: "gelu" } })],
  ])("%s", async (_, name, change) => {
    expect(await klOf(name, change)).toBeGreaterThan(1e-10);
  });
});

const pre = {
  beforeAttention: "input_layernorm",
  afterAttention: null,
  beforeMlp: "input_layernorm",
  afterMlp: null,
};

describe("the native graph", () => {
  const native = (name: string, change: (decoder: Decoder) => Partial<Decoder>) => {
    const side = nativeSide(`hf_dense/${name}`);
    const decoder = decoderOf(name);
    return { ...side, layout: runBy(side.layout, nativeForward({ ...decoder, ...change(decoder) })) };
  };

  test("leaves out what torchtitan leaves out, and no more", async () => {
    const { golden } = fixtureCase("hf_dense/granite-tied");
    const report = await runParity({ a: nativeSide("hf_dense/granite-tied"), golden, backend: "cpu" });
    expect(report).toMatchObject({
      verdict: "fail",
      verdictWithoutKnown: "pass",
      knownDifferences: [{ code: "LOGITS_AFTER_HEAD" }],
      cause: { code: "LOGITS_AFTER_HEAD" },
    });
  });

  test.each<readonly [string, string, (decoder: Decoder) => Partial<Decoder>, string]>([
    ["norms", "olmo2", (d) => ({ norm: { ...d.norm, eps: 0.1 } }), "layers.0.attn"],
    ["the rotation", "exaone4-bf16", pairs("adjacent"), "layers.0.attn"],
    ["the MLP", "nemotron-bf16", (d) => ({ mlp: { ...d.mlp, activation: "relu" } }), "layers.0.ffn"],
  ])("a fault in %s is found, and where", async (_, name, change, tap) => {
    const report = await runParity({ a: native(name, change), b: hfSide(`hf_dense/${name}`), backend: "cpu" });
    expect(report).toMatchObject({ verdict: "fail", firstDivergence: { tap } });
  });
});

interface Upstream {
  readonly config: JsonObject;
  readonly tied: boolean;
  readonly hf: Readonly<Record<string, string>>;
  readonly native: Readonly<Record<string, string>>;
}

const upstream: Readonly<Record<string, Upstream>> = JSON.parse(
  readFileSync(`${FIXTURES}hf_dense/architectures.json`, "utf8"),
);

/** Keys that a forward pass reads of tensors of these shapes. */
function keysRead(forward: Forward, shapes: Readonly<Record<string, string>>): string[] {
  const header = (key: string) => {
    const shape = shapes[key];
    if (shape === undefined) throw new Error(`upstream has no ${key}`);
    return { key, dtype: "F32" as const, shape: shape.split(" ").filter(Boolean).map(Number) };
  };
  const { steps } = planForward(forward, header, { ids_T: [0, 1, 2], has: (key) => key in shapes });
  return [...new Set(steps.flatMap(({ weights }) => weights))].toSorted();
}

/** As the backend builds it, without the biases that the config may ask for; a part of a head of 6 must make pairs. */
const openBuilt = (name: string, { config }: Upstream) => {
  const isPart = ["glm", "glm4", "nemotron", "persimmon", "phi", "stablelm"].includes(name);
  const fields = { attention_bias: false, mlp_bias: false, ...(isPart ? { partial_rotary_factor: 2 / 3 } : {}) };
  return hfDense.open({ ...config, ...fields }, "config.json");
};
const parameters = ({ tied }: Upstream, keys: readonly string[]) =>
  keys.filter((key) => !(tied && key.endsWith("lm_head.weight"))).toSorted();

test.each(Object.entries(upstream))("%s: the HF graph reads every tensor that transformers has", (name, one) => {
  const built = Object.keys(one.hf).filter((key) => `model.${key}` in one.native);
  expect(keysRead(openBuilt(name, one).hf.forward(), one.hf)).toEqual(parameters(one, built));
});

test.each(Object.entries(upstream).filter(([name]) => name !== "doge"))(
  "%s: the native graph reads every tensor that torchtitan has",
  (name, one) => {
    expect(keysRead(openBuilt(name, one).layouts[0].forward(), one.native)).toEqual(
      parameters(one, Object.keys(one.native)),
    );
  },
);

test("fixtures show most kinds of mathematics", () => {
  const seen = fixtureCases
    .filter(({ family }) => family === "hf-dense")
    .map(({ hf }) => JSON.parse(readFileSync(`${hf}/config.json`, "utf8")).model_type);
  expect(new Set(seen).size).toBeGreaterThan(15);
  expect(seen.every((type: string) => ARCHITECTURES.has(type))).toBe(true);
});

describe("no graph, and why", () => {
  const olmo2 = upstream.olmo2!.config;
  const forward =
    (fields: JsonObject, layout = "hf") =>
    () =>
      layoutOf(hfDense.open({ ...olmo2, ...fields }, "config.json"), layout).forward();

  test.each([
    [{ hidden_act: "laplace" }, '"hidden_act" is "laplace", which has no graph here'],
    [{ rope_parameters: { rope_type: "proportional" } }, '"rope_parameters.rope_type" is "proportional"'],
    [{ partial_rotary_factor: 0.5 }, '"partial_rotary_factor" is 0.5, which rotates a part of each head'],
    [{ attn_logit_softcapping: 30 }, '"attn_logit_softcapping" is 30, which transformers\' olmo2 never reads'],
    [{ residual_multiplier: 0.3 }, '"residual_multiplier" is 0.3'],
    [{ sliding_window: 128 }, '"sliding_window" is 128'],
    [
      { layer_types: ["full_attention", "sliding_attention"] },
      '"layer_types" is ["full_attention","sliding_attention"]',
    ],
    [{ model_type: "mistral", layer_types: ["full_attention", "full_attention"], sliding_window: 9 }, '"layer_types"'],
    [{ model_type: "gemma", use_bidirectional_attention: true }, "lets tokens see those after them"],
    [{ model_type: "stablelm", head_dim: 8 }, '"head_dim" is 8, which transformers\' stablelm does not read'],
  ])("%o", (fields, message) => {
    const failure = refusal(forward(fields));
    expect(failure).toContain("CONFIG_UNSUPPORTED: config.json: ");
    expect(failure).toContain(message);
  });

  test.each([
    [
      { model_type: "gemma2", sliding_window: null },
      '"sliding_window" must be a positive integer where layers have a sliding window',
    ],
    [{ model_type: "olmo3", layer_types: ["full_attention"] }, '"layer_types" must be a list of 2 times'],
    [{ model_type: "ministral3", rope_parameters: { rope_type: "default" } }, "llama_4_scaling_beta"],
  ])("a config that contradicts itself: %o", (fields, message) => {
    expect(refusal(forward(fields))).toContain(message);
  });

  test.each([
    { sliding_window: null },
    { sliding_window: 128, use_sliding_window: false },
    { layer_types: ["full_attention", "full_attention"] },
    { final_logit_softcapping: null, use_qk_norm: false, clip_qkv: null },
  ])("but %o means nothing", (fields) => {
    expect(forward(fields)).not.toThrow();
  });

  test("an architecture that is not in the list, by its name", () => {
    const family = hfDense.open({ ...olmo2, model_type: "falcon", tie_word_embeddings: false }, "config.json");
    expect(refusal(() => layoutOf(family, "hf").forward())).toContain(
      "NO_GRAPH: hf-dense: there is no forward graph of falcon",
    );
  });

  test("Doge's native side, whose tokens see those after them, and more tokens than its window keeps", () => {
    const family = hfDense.open({ ...upstream.doge!.config, keep_window_size: 2 }, "config.json");
    expect(refusal(() => layoutOf(family, "torchtitan").forward())).toContain("NO_GRAPH");
    expect(refusal(() => keysRead(layoutOf(family, "hf").forward(), upstream.doge!.hf))).toContain(
      "a dynamic mask over 3 tokens",
    );
  });

  test("a native side whose RoPE follows from the length of training", () => {
    const rope = {
      rope_type: "longrope",
      short_factor: [1, 1, 1],
      long_factor: [2, 2, 2],
      original_max_position_embeddings: 64,
    };
    const open = (more: JsonObject) =>
      hfDense.open({ ...upstream.phi3!.config, rope_parameters: { ...rope, ...more } }, "config.json");
    expect(refusal(() => open({}).layouts[0].forward())).toContain("NO_GRAPH");
    expect(() => open({}).hf.forward()).not.toThrow();
    expect(() => open({ factor: 4 }).layouts[0].forward()).not.toThrow();
    const whole = { original_max_position_embeddings: 4096 };
    const unscaled = hfDense.open(
      { ...upstream.phi3!.config, max_position_embeddings: 4096, ...whole, rope_parameters: { ...rope, ...whole } },
      "config.json",
    );
    expect(() => layoutOf(unscaled, "torchtitan").forward()).not.toThrow();
  });
});
