import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { parseQwen3Config, qwen3HfConfig } from "../../../adapters/qwen3/config.ts";
import { qwen3 } from "../../../adapters/qwen3/index.ts";
import { FIXTURES } from "../../helpers/fixtures.ts";
import { refusal } from "../refuse.ts";
import { torchtitanDump } from "../torchtitan-dump.ts";

const read = (path: string) => JSON.parse(readFileSync(`${FIXTURES}qwen3/${path}/config.json`, "utf8"));
const hf = (fields: Record<string, unknown> = {}) =>
  parseQwen3Config({ model_type: "qwen3", ...fields }, "config.json");
const args = (fields: Record<string, unknown>) => parseQwen3Config(fields, "params.json");

describe("HF configs", () => {
  test("absent fields take the defaults of Qwen3Config 5.23.0", () => {
    expect(hf({ num_hidden_layers: 2 })).toEqual({
      nLayers: 2,
      vocabSize: 151936,
      dim: 4096,
      ffnDim: 22016,
      nHeads: 32,
      nKvHeads: 32,
      headDim: 128,
      normEps: 1e-6,
      tied: false,
      rope: { kind: "default", theta: 10000, dims: 128 },
      attentionBias: false,
      maxPositions: 32768,
      windows: [null, null],
      dtype: null,
    });
    expect(hf().nLayers).toBe(32);
  });

  test("head_dim does not follow from the sizes", () => {
    expect(hf({ hidden_size: 64, num_attention_heads: 4, num_key_value_heads: 2 }).headDim).toBe(128);
  });

  test("v4 and v5 spellings mean the same", () => {
    const v5 = parseQwen3Config(read("yarn/hf"), "v5");
    expect(parseQwen3Config(read("yarn/hf-v4"), "v4")).toEqual(v5);
    expect(v5.rope).toMatchObject({ kind: "yarn", theta: 1e6, dims: 16, factor: 5, originalMaxPositions: 128 });
    expect(parseQwen3Config(read("yarn-unscaled/hf"), "x").rope).toMatchObject({ attentionFactor: 1 });
  });

  test.each([
    [{ sliding_window: 64 }, [null, null, null]],
    [{ use_sliding_window: true, sliding_window: 64, max_window_layers: 1 }, [null, 64, 64]],
    [{ use_sliding_window: true, max_window_layers: 0 }, [4096, 4096, 4096]],
    [{ use_sliding_window: true, sliding_window: 64 }, [null, null, null]],
    [{ use_sliding_window: true, sliding_window: null, max_window_layers: 0 }, [null, null, null]],
    [
      {
        use_sliding_window: true,
        sliding_window: 8,
        layer_types: ["sliding_attention", "full_attention", "sliding_attention"],
      },
      [8, null, 8],
    ],
  ])("windows of %o are %o", (fields, windows) => {
    expect(hf({ num_hidden_layers: 3, ...fields }).windows).toEqual(windows);
  });

  test.each([
    [{ head_dim: null }, '"head_dim" must be a positive integer, found null'],
    [{ layer_types: ["full_attention"] }, '"layer_types" must be a list of 3 layers'],
    [
      { layer_types: ["full_attention", "full_attention", "chunked_attention"] },
      '"layer_types" must be full_attention or sliding_attention',
    ],
    [{ layer_types: ["full_attention", "full_attention", "sliding_attention"] }, "as no sliding window is in use"],
    [
      { rope_parameters: { full_attention: { rope_theta: 3 } } },
      '"rope_parameters.full_attention" is {"rope_theta":3}',
    ],
    [{ use_sliding_window: "yes" }, '"use_sliding_window" must be true or false'],
    [{ model_type: "mistral" }, 'CONFIG_UNSUPPORTED: config.json: "model_type" is "mistral", which is another family'],
    [{ hidden_act: "relu" }, '"hidden_act" is "relu"'],
  ])("%o is refused", (fields, message) => {
    expect(refusal(() => hf({ num_hidden_layers: 3, ...fields }))).toContain(message);
  });
});

describe("torchtitan's configs", () => {
  test("0.2's model args, with the defaults of Qwen3ModelArgs", () => {
    expect(args({ dim: 1024, n_layers: 2, enable_weight_tying: true })).toEqual({
      nLayers: 2,
      vocabSize: 151936,
      dim: 1024,
      ffnDim: 3072,
      nHeads: 16,
      nKvHeads: 8,
      headDim: 128,
      normEps: 1e-6,
      tied: true,
      rope: { kind: "default", theta: 1e6, dims: 128 },
      attentionBias: false,
      maxPositions: 4096,
      windows: [null, null],
      dtype: null,
    });
  });

  test("0.3's config", () => {
    expect(args(torchtitanDump({ qkNorm: true }))).toMatchObject({
      headDim: 10,
      nKvHeads: 2,
      windows: [null, null],
      attentionBias: false,
    });
  });

  test.each([
    [{ n_layers: 2, moe_enabled: true }, '"moe_enabled" is true, which makes this another family'],
    [{ n_layers: 2, qk_norm: false }, '"qk_norm" is false'],
    [torchtitanDump(), '"layers" must be with qk_norm'],
    [torchtitanDump({ qkNorm: true, bias: { mlp: true } }), "without biases of w1, w2, w3"],
  ])("what HF has no place for is refused", (json, message) => {
    expect(refusal(() => args(json))).toContain(message);
  });
});

describe("back to HF", () => {
  test("a config from HF stays as it was", () => {
    const json = read("yarn/hf");
    expect(qwen3.open(json, "config.json").hfConfig()).toBe(json);
  });

  test.each(["split", "fused-tied", "yarn", "yarn-unscaled", "biased"])(
    "what is written for %s reads as the same config",
    (name) => {
      const config = parseQwen3Config(read(`${name}/hf`), name);
      expect(parseQwen3Config(qwen3HfConfig(config), "written")).toEqual(config);
    },
  );

  test("windows survive", () => {
    const config = hf({ num_hidden_layers: 3, use_sliding_window: true, sliding_window: 8, max_window_layers: 2 });
    expect(parseQwen3Config(qwen3HfConfig(config), "written")).toEqual(config);
  });
});

test("what the mathematics uses can be compared", () => {
  const math = qwen3.open(read("yarn/hf"), "config.json").math();
  expect(math.ropeAttentionFactor).toBeCloseTo(0.1 * Math.log(5) + 1, 12);
  expect(math.windows).toEqual([0, 0]);
  const unscaled = qwen3.open(read("yarn-unscaled/hf"), "config.json").math();
  expect(unscaled.ropeAttentionFactor).toBe(1);
});
