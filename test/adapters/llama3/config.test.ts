import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { llama3HfConfig, parseLlama3Config } from "../../../adapters/llama3/config.ts";
import { llama3 } from "../../../adapters/llama3/index.ts";
import { FIXTURES } from "../../helpers/fixtures.ts";
import { refusal } from "../refuse.ts";
import { torchtitanDump } from "../torchtitan-dump.ts";

const read = (path: string) => JSON.parse(readFileSync(`${FIXTURES}llama3/${path}/config.json`, "utf8"));
const hf = (fields: Record<string, unknown> = {}) =>
  parseLlama3Config({ model_type: "llama", ...fields }, "config.json");
const args = (fields: Record<string, unknown>) => parseLlama3Config(fields, "args.json");

describe("HF configs", () => {
  test("absent fields take the defaults of LlamaConfig 5.23.0", () => {
    expect(hf()).toEqual({
      nLayers: 32,
      vocabSize: 32000,
      dim: 4096,
      ffnDim: 11008,
      nHeads: 32,
      nKvHeads: 32,
      headDim: 128,
      normEps: 1e-6,
      tied: false,
      rope: { kind: "default", theta: 10000, dims: 128 },
      attentionBias: false,
      mlpBias: false,
      maxPositions: 2048,
      dtype: null,
    });
  });

  test("v4 and v5 spellings mean the same", () => {
    const v5 = parseLlama3Config(read("rope-scaled/hf"), "v5");
    expect(parseLlama3Config(read("rope-scaled/hf-v4"), "v4")).toEqual(v5);
    expect(v5.rope).toEqual({
      kind: "llama3",
      theta: 500000,
      dims: 16,
      factor: 8,
      lowFreqFactor: 1,
      highFreqFactor: 4,
      originalMaxPositions: 128,
    });
    expect(v5.dtype).toBe("float32");
  });

  test("head_dim is read where it is given, derived only where it is not", () => {
    expect(hf({ hidden_size: 54, num_attention_heads: 6, head_dim: 10 }).headDim).toBe(10);
    expect(hf({ hidden_size: 60, num_attention_heads: 6 }).headDim).toBe(10);
    expect(hf({ hidden_size: 60, num_attention_heads: 6, head_dim: null }).rope.dims).toBe(10);
  });

  test("null heads are as many as query heads", () => {
    expect(hf({ num_attention_heads: 8, num_key_value_heads: null }).nKvHeads).toBe(8);
  });

  test.each([
    [{ rope_theta: 5e5 }, 5e5],
    [{ rope_theta: 5e5, rope_scaling: null }, 5e5],
    [{ rope_theta: 5e5, rope_scaling: {} }, 5e5],
    [{ rope_theta: 5e5, rope_parameters: { rope_theta: 7e5, rope_type: "default" } }, 7e5],
    [{ rope_parameters: { rope_type: "default" } }, 1e4],
    [{ rope_scaling: { rope_type: "default" }, rope_parameters: { rope_theta: 3 } }, 1e4],
  ])("theta of %o is %d", (fields, theta) => {
    expect(hf(fields).rope).toEqual({ kind: "default", theta, dims: 128 });
  });

  test("scaling", () => {
    expect(hf({ rope_scaling: { type: "linear", factor: 2 } }).rope).toMatchObject({ kind: "linear", factor: 2 });
    expect(
      hf({ rope_scaling: { rope_type: "llama3", factor: 2, low_freq_factor: 1, high_freq_factor: 4 } }).rope,
    ).toMatchObject({
      kind: "llama3",
      originalMaxPositions: 2048,
    });
    expect(
      hf({ rope_parameters: { rope_theta: 7, rope_type: "yarn", factor: null, original_max_position_embeddings: 512 } })
        .rope,
    ).toEqual({
      kind: "yarn",
      theta: 7,
      dims: 128,
      factor: 4,
      originalMaxPositions: 512,
      betaFast: 32,
      betaSlow: 1,
      truncate: true,
    });
  });

  test.each([
    [{ hidden_size: null }, 'INVALID_CONFIG: config.json: "hidden_size" must be a positive integer, found null'],
    [{ num_hidden_layers: "3" }, '"num_hidden_layers" must be a positive integer, found "3"'],
    [{ num_hidden_layers: 2.5 }, '"num_hidden_layers" must be a positive integer, found 2.5'],
    [{ rms_norm_eps: -1 }, '"rms_norm_eps" must be a positive number, found -1'],
    [{ tie_word_embeddings: 1 }, '"tie_word_embeddings" must be true or false, found 1'],
    [{ rope_theta: null }, '"rope_theta" must be a positive number, found null'],
    [{ rope_parameters: [] }, '"rope_parameters" must be an object, found []'],
    [
      { rope_scaling: { rope_type: "llama3", factor: 8 } },
      '"rope_scaling.low_freq_factor" must be a positive number, found nothing',
    ],
    [{ model_type: "mistral" }, 'CONFIG_UNSUPPORTED: config.json: "model_type" is "mistral", which is another family'],
    [{ hidden_act: "gelu" }, 'CONFIG_UNSUPPORTED: config.json: "hidden_act" is "gelu"'],
    [{ rope_scaling: { type: "dynamic", factor: 2 } }, '"rope_scaling.type" is "dynamic", which has no graph here'],
    [{ rope_parameters: { rope_type: "longrope" } }, '"rope_parameters.rope_type" is "longrope"'],
    [{ partial_rotary_factor: 0.5 }, '"partial_rotary_factor" is 0.5, which rotates a part of each head'],
    [{ rope_parameters: { partial_rotary_factor: 0.5 } }, '"rope_parameters.partial_rotary_factor" is 0.5'],
    [{ num_key_value_heads: 5 }, "32 query heads cannot share 5 key/value heads evenly"],
    [{ head_dim: 9 }, "a head of 9 channels cannot be rotated in pairs"],
    [
      { hidden_size: 54, num_attention_heads: 4 },
      '"hidden_size" must be a multiple of num_attention_heads (4), found 54',
    ],
  ])("%o is refused", (fields, message) => {
    expect(refusal(() => hf(fields))).toContain(message);
  });
});

describe("torchtitan 0.2's model args", () => {
  test("of the 8B model", () => {
    const config = args({
      dim: 4096,
      n_layers: 32,
      n_heads: 32,
      n_kv_heads: 8,
      ffn_dim_multiplier: 1.3,
      multiple_of: 1024,
      rope_theta: 500000,
    });
    expect(config).toMatchObject({
      ffnDim: 14336,
      headDim: 128,
      nKvHeads: 8,
      vocabSize: 128256,
      normEps: 1e-5,
      maxPositions: 131072,
    });
    expect(config.rope).toEqual({
      kind: "llama3",
      theta: 500000,
      dims: 128,
      factor: 8,
      lowFreqFactor: 1,
      highFreqFactor: 4,
      originalMaxPositions: 8192,
    });
  });

  test.each([
    [{ dim: 8192, n_heads: 64, ffn_dim_multiplier: 1.3, multiple_of: 4096 }, 28672],
    [{ dim: 16384, n_heads: 128, ffn_dim_multiplier: 1.2, multiple_of: 4096 }, 53248],
    [{ dim: 256, n_heads: 16 }, 768],
    [{ dim: 50, n_heads: 5, multiple_of: 1, ffn_dim_multiplier: null }, 133],
  ])("%o has a feed-forward of %d", (fields, ffnDim) => {
    expect(args(fields).ffnDim).toBe(ffnDim);
  });

  test("scaling that is null is none", () => {
    expect(args({ rope_scaling_args: null }).rope.kind).toBe("default");
    expect(args({ rope_scaling_args: { scaling_factor: 32 } }).rope).toMatchObject({ kind: "llama3", factor: 32 });
  });
});

describe("torchtitan 0.3's config", () => {
  const llama = {
    scaling: "llama",
    scaling_factor: 8,
    low_freq_factor: 1,
    high_freq_factor: 4,
    original_max_position_embeddings: 128,
  };

  test.each([true, false])("fused: %s", (fused) => {
    expect(args(torchtitanDump({ fused, rope: llama }))).toEqual({
      nLayers: 2,
      vocabSize: 263,
      dim: 54,
      ffnDim: 75,
      nHeads: 6,
      nKvHeads: 2,
      headDim: 10,
      normEps: 1e-5,
      tied: false,
      rope: {
        kind: "llama3",
        theta: 500000,
        dims: 10,
        factor: 8,
        lowFreqFactor: 1,
        highFreqFactor: 4,
        originalMaxPositions: 128,
      },
      attentionBias: false,
      mlpBias: false,
      maxPositions: 640,
      dtype: null,
    });
  });

  test("inside a dump of the trainer's config", () => {
    expect(args({ model_spec: { name: "llama3", flavor: "x", model: torchtitanDump() } }).dim).toBe(54);
  });

  test("heads and channels that are null are derived", () => {
    const config = args(torchtitanDump({ attention: { n_kv_heads: null, head_dim: null, dim: 60 } }));
    expect([config.nKvHeads, config.headDim]).toEqual([6, 10]);
  });

  test("biases", () => {
    const config = args(torchtitanDump({ bias: { qkv: true, wo: true, mlp: true } }));
    expect([config.attentionBias, config.mlpBias]).toEqual([true, true]);
  });

  test("YaRN leaves cos and sin alone, as HF spells with an attention factor of 1", () => {
    const yarn = {
      scaling: "yarn",
      rope_factor: 4,
      beta_fast: 32,
      beta_slow: 1,
      original_seq_len: 128,
      truncate: true,
    };
    const config = args(torchtitanDump({ rope: yarn }));
    expect(config.rope).toMatchObject({ kind: "yarn", factor: 4, attentionFactor: 1 });
    expect(llama3HfConfig(config).rope_parameters).toMatchObject({ rope_type: "yarn", attention_factor: 1 });
    expect(args(torchtitanDump({ rope: { ...yarn, rope_factor: 1 } })).rope.kind).toBe("default");
  });

  const differing = () => {
    const dump = torchtitanDump();
    return { ...dump, layers: [dump.layers[0], torchtitanDump({ attention: { n_heads: 2 } }).layers[0]] };
  };
  test.each([
    [
      torchtitanDump({ bias: { qkv: true } }),
      '"layers.0.attention.qkv_linear.wqkv.bias" is true, which differs from that of wo',
    ],
    [torchtitanDump({ layer: { moe: {} } }), '"layers.0.moe" is {}, which makes this another family'],
    [torchtitanDump({ qkNorm: true }), "without qk_norm"],
    [
      torchtitanDump({ rope: { dim: 8 } }),
      '"layers.0.attention.rope.dim" must be the channels of a head (10), found 8',
    ],
    [torchtitanDump({ rope: { scaling: "ntk" } }), '"layers.0.attention.rope.scaling" is "ntk"'],
    [torchtitanDump({ nLayers: 0 }), '"layers" must be a list of objects'],
    [{ ...torchtitanDump(), norm: { eps: 1e-6 } }, '"norm.eps" is 0.000001, which differs from that of the layers'],
    [{ ...torchtitanDump(), lm_head: { bias: true } }, '"lm_head.bias" is true'],
    [differing(), '"layers.1" differs from "layers.0"'],
  ])("what HF has no place for is refused", (dump, message) => {
    expect(refusal(() => args(dump))).toContain(message);
  });
});

describe("back to HF", () => {
  test("a config from HF stays as it was, byte for byte", () => {
    const json = read("rope-scaled/hf-v4");
    expect(llama3.open(json, "config.json").hfConfig()).toBe(json);
  });

  test.each(["split", "fused-tied", "rope-scaled", "biased"])(
    "what is written for %s reads as the same config",
    (name) => {
      const config = parseLlama3Config(read(`${name}/hf`), name);
      expect(parseLlama3Config(llama3HfConfig(config), "written")).toEqual(config);
    },
  );

  test("a config from torchtitan becomes one that HF reads", () => {
    const json = torchtitanDump();
    const written = llama3.open(json, "args.json").hfConfig();
    expect(written).toMatchObject({
      model_type: "llama",
      architectures: ["LlamaForCausalLM"],
      head_dim: 10,
      bos_token_id: null,
    });
    expect(parseLlama3Config(written, "written")).toEqual(parseLlama3Config(json, "args.json"));
  });
});

test("what the mathematics uses can be compared", () => {
  const math = llama3.open(read("split/hf"), "config.json").math();
  expect(math).toMatchObject({
    headDim: 10,
    attentionScale: 10 ** -0.5,
    tied: false,
    ropeAttentionFactor: 1,
    activation: "silu",
  });
  expect(math.invFreq).toHaveLength(5);
  const other = llama3
    .open({ ...read("split/hf"), rope_parameters: { rope_theta: 1e6, rope_type: "default" } }, "x")
    .math();
  expect(other.invFreq).not.toEqual(math.invFreq);
});
