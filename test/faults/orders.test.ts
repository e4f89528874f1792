// What moved in a tensor is told along every axis and block, whatever else stands there, and with values rounded, too.
import { describe, expect, test } from "vitest";
import { bytesOf, edited } from "../../src/faults/edit.ts";
import { modelsOf, pairOf } from "../../src/faults/pair.ts";
import { recognise } from "../../src/faults/registry.ts";
import { sampleOf } from "../helpers/models.ts";
import {
  all,
  type Change,
  changed,
  halvesToPairs,
  noise,
  pairsToHalves,
  permuted,
  shuffled,
  taken,
  through,
} from "../helpers/values.ts";

function toldOf(name: string, key: string, change: Change) {
  const good = sampleOf(name);
  const bad = changed(good, key, change);
  return recognise(pairOf(modelsOf(good.source, bad.source, { one: "a", other: "b" }), key));
}

const Q = "model.layers.1.self_attn.q_proj.weight";
const K = "model.layers.1.self_attn.k_proj.weight";
const O = "model.layers.1.self_attn.o_proj.weight";
const EXPERTS = "model.layers.1.mlp.experts.gate_up_proj";
const DOWN = "model.layers.1.mlp.experts.down_proj";
const KIMI = "language_model.model.layers.1.self_attn";
const WQKV = "vision_tower.encoder.blocks.1.wqkv.weight";
const PATCH = "vision_tower.patch_embed.proj.weight";
const swap = (i: number, j: number) => (at: number) => (at === i ? j : at === j ? i : at);
const reversed = (size: number) => (i: number) => size - 1 - i;
const rolled = (size: number, by: number) => (i: number) => (i + by) % size;
const asText = (size: number) => {
  const order = Array.from({ length: size }, (_, i) => i).sort((a, b) => (`${a}` < `${b}` ? -1 : 1));
  return (i: number) => order[i]!;
};
const anyOrder = (size: number) => (i: number) => shuffled(size)[i]!;

const CASES: readonly (readonly [string, string, string, Change, string, RegExp])[] = [
  [
    "all heads",
    "llama3/split",
    Q,
    taken([6, 10, 54], 1, halvesToPairs(10)),
    "ROPE_PERMUTED",
    /in heads of 10 channels$/,
  ],
  [
    "the way back",
    "llama3/split",
    K,
    taken([2, 10, 54], 1, pairsToHalves(10)),
    "ROPE_PERMUTED",
    /heads of 10 channels$/,
  ],
  [
    "one head",
    "llama3/split",
    Q,
    taken([6, 10, 54], 1, halvesToPairs(10), (h) => h === 2),
    "ROPE_PERMUTED",
    /in 1 of 6 such groups, the first one at row 20/,
  ],
  [
    "one head of two in bf16",
    "gpt_oss/bf16",
    K,
    taken([2, 10, 44], 1, pairsToHalves(10), (h) => h === 1),
    "ROPE_PERMUTED",
    /in 1 of 2/,
  ],
  [
    "the first 4 of each 10",
    "qwen3_moe/untied",
    Q,
    all(taken([4, 10, 36], 1, (i) => (i < 4 ? halvesToPairs(4)(i) : i))),
    "ROPE_PERMUTED",
    /heads of 4 channels, from channel 0 of each 10 on/,
  ],
  [
    "rows behind a latent",
    "kimi_k2_7/images",
    `${KIMI}.kv_a_proj_with_mqa.weight`,
    taken([22, 38], 0, (i) => (i < 14 ? i : 14 + halvesToPairs(8)(i - 14))),
    "ROPE_PERMUTED",
    /heads of 8 channels/,
  ],
  [
    "the end of each head",
    "kimi_k2_7/images",
    `${KIMI}.q_b_proj.weight`,
    taken([3, 18, 18], 1, (i) => (i < 10 ? i : 10 + pairsToHalves(8)(i - 10))),
    "ROPE_PERMUTED",
    /heads of 8 channels, from channel 10 of each 18 on/,
  ],
  [
    "queries and keys within a fused tensor",
    "kimi_k2_7/images",
    WQKV,
    taken([12, 8, 32], 1, halvesToPairs(8), (h) => h < 8),
    "ROPE_PERMUTED",
    /in 8 of 12 such groups/,
  ],
  [
    "by the number of query heads",
    "llama3/split",
    K,
    all(taken([2, 10, 54], 1, halvesToPairs(10)), taken([5, 4, 54], 1, pairsToHalves(4))),
    "ROPE_PERMUTED",
    /two head counts/,
  ],
  [
    "and rounded",
    "llama3/split",
    K,
    all(taken([2, 10, 54], 1, halvesToPairs(10)), through("BF16")),
    "ROPE_PERMUTED",
    /heads of 10 channels; and its values are rounded to BF16 in a/,
  ],
  [
    "a bias of bf16",
    "gpt_oss/bf16",
    "model.layers.1.self_attn.q_proj.bias",
    taken([6, 10], 1, halvesToPairs(10)),
    "ROPE_PERMUTED",
    /heads of 10/,
  ],
  [
    "a norm of a head",
    "qwen3_moe/untied",
    "model.layers.1.self_attn.q_norm.weight",
    taken([10], 0, halvesToPairs(10)),
    "ROPE_PERMUTED",
    /heads of 10/,
  ],

  [
    "gate and up, all experts",
    "gpt_oss/bf16",
    EXPERTS,
    taken([12, 44, 34, 2], 3, reversed(2)),
    "PAIRS_SWAPPED",
    /neighbouring columns/,
  ],
  [
    "gate and up of one expert",
    "gpt_oss/bf16",
    EXPERTS,
    taken([12, 44 * 34, 2], 2, reversed(2), (i) => Math.floor(i / (44 * 34)) === 5),
    "PAIRS_SWAPPED",
    /columns/,
  ],
  ["nibbles", "gpt_oss/bf16", EXPERTS, taken([12, 22, 2, 68], 2, reversed(2)), "PAIRS_SWAPPED", /neighbouring rows/],
  [
    "interleaved taken for halves",
    "gpt_oss/bf16",
    EXPERTS,
    taken([12, 44, 68], 2, pairsToHalves(68)),
    "HALVES_INTERLEAVED",
    /columns/,
  ],
  [
    "halves taken for interleaved, one expert",
    "gpt_oss/bf16",
    EXPERTS,
    taken([12 * 44, 68], 1, halvesToPairs(68), (i) => i < 44),
    "HALVES_INTERLEAVED",
    /columns/,
  ],
  [
    "halves of columns",
    "kimi_k2_7/images",
    "mm_projector.proj.2.weight",
    taken([38, 2, 64], 1, reversed(2)),
    "HALVES_SWAPPED",
    /columns exchanged, 64 each/,
  ],
  [
    "halves, and rounded to f16",
    "kimi_k2_7/images",
    "mm_projector.proj.2.weight",
    all(taken([38, 2, 64], 1, reversed(2)), through("F16")),
    "HALVES_SWAPPED",
    /rounded to F16 in a/,
  ],

  [
    "keys, values, queries",
    "kimi_k2_7/images",
    WQKV,
    taken([3, 1024], 0, rolled(3, 1)),
    "FUSED_SPLIT",
    /rows 32 to 95, then 0 to 31/,
  ],
  [
    "by head instead of by part",
    "kimi_k2_7/images",
    WQKV,
    permuted([3, 4, 8, 32], [1, 0, 2, 3]),
    "FUSED_SPLIT",
    /8, 8, 8 rows .* 4 groups/,
  ],
  [
    "unequal parts of a latent",
    "kimi_k2_7/images",
    `${KIMI}.kv_b_proj.weight`,
    ({ values }) => {
      const head = 22 * 14;
      const part = (begin: number, end: number) =>
        [0, 1, 2].flatMap((h) => [...values.slice(h * head + begin * 14, h * head + end * 14)]);
      return Float64Array.from([...part(0, 10), ...part(10, 22)]);
    },
    "FUSED_SPLIT",
    /10, 12 rows .* 3 groups/,
  ],

  ["channels", "kimi_k2_7/images", PATCH, taken([32, 3, 16], 1, reversed(3)), "FLIPPED", /: 3 \(4 apart\)/],
  [
    "a square matrix",
    "kimi_k2_7/images",
    "mm_projector.proj.0.weight",
    permuted([128, 128], [1, 0]),
    "TRANSPOSED",
    /^is transposed$/,
  ],
  [
    "a square matrix of bf16 values",
    "kimi_k2_7/images",
    "mm_projector.proj.0.weight",
    all(permuted([128, 128], [1, 0]), through("BF16")),
    "TRANSPOSED",
    /^is transposed; and its values are rounded/,
  ],
  ["reshaped for transposed", "llama3/split", O, permuted([60, 54], [1, 0]), "TRANSPOSED", /reshaped/],
  [
    "transposed for reshaped, slice by slice",
    "gpt_oss/bf16",
    DOWN,
    permuted([12, 44, 34], [0, 2, 1]),
    "TRANSPOSED",
    /slice by slice/,
  ],
  ["height for width", "kimi_k2_7/images", PATCH, permuted([32, 3, 4, 4], [0, 1, 3, 2]), "AXES_PERMUTED", /columns/],
  [
    "channels last",
    "kimi_k2_7/images",
    PATCH,
    permuted([32, 3, 16], [0, 2, 1]),
    "AXES_PERMUTED",
    /\[16, 3\] of what is \[3, 16\]/,
  ],
  [
    "a table of positions",
    "kimi_k2_7/images",
    "vision_tower.patch_embed.pos_emb.weight",
    permuted([6, 6, 32], [1, 0, 2]),
    "AXES_PERMUTED",
    /\[6, 6\]/,
  ],
  [
    "heads within an output projection",
    "llama3/split",
    O,
    permuted([54, 6, 10], [0, 2, 1]),
    "AXES_PERMUTED",
    /columns/,
  ],
  [
    "axes that no row and no column keeps",
    "llama3/split",
    O,
    permuted([54, 6, 10], [1, 0, 2]),
    "AXES_PERMUTED",
    /elements/,
  ],

  [
    "experts as text",
    "gpt_oss/bf16",
    DOWN,
    taken([12, 34 * 44], 0, asText(12)),
    "ROWS_REORDERED",
    /of 12 experts in other places: as names sorted as text/,
  ],
  [
    "two experts",
    "gpt_oss/bf16",
    DOWN,
    taken([12, 34 * 44], 0, swap(3, 7)),
    "ROWS_REORDERED",
    /2 of 12 experts .*: 3 and 7 are exchanged/,
  ],
  [
    "a head among others",
    "llama3/split",
    Q,
    taken([6, 540], 0, swap(1, 4)),
    "ROWS_REORDERED",
    /2 of 6 blocks of 10 rows/,
  ],
  [
    "rows of a vocabulary, one round",
    "llama3/split",
    "lm_head.weight",
    taken([263, 54], 0, rolled(263, 1)),
    "ROWS_REORDERED",
    /moved round by 1/,
  ],
  [
    "any order of rows",
    "llama3/split",
    Q,
    taken([60, 54], 0, anyOrder(60)),
    "ROWS_REORDERED",
    /rows in other places: from number/,
  ],
  [
    "an expert twice",
    "gpt_oss/bf16",
    DOWN,
    taken([12, 34 * 44], 0, (i) => (i === 4 ? 3 : i)),
    "ROWS_REPEATED",
    /1 of 12 experts in a that are other ones of b/,
  ],
  [
    "heads of an output projection",
    "llama3/split",
    O,
    taken([54, 6, 10], 1, swap(0, 5)),
    "COLUMNS_REORDERED",
    /2 of 6 blocks of 10 columns/,
  ],
  [
    "any order of columns",
    "llama3/split",
    O,
    taken([54, 60], 1, anyOrder(60)),
    "COLUMNS_REORDERED",
    /columns in other places/,
  ],
  [
    "three shards of columns",
    "llama3/split",
    O,
    taken([54, 3, 20], 1, rolled(3, 1)),
    "COLUMNS_REORDERED",
    /3 of 3 blocks of 20 columns/,
  ],
];

test.each(CASES)("%s: %s %s", (_, name, key, change, code, words) => {
  const told = toldOf(name, key, change);
  expect(told).toMatchObject({ code });
  expect(told.words).toMatch(words);
});

describe("what is no order is not told to be one", () => {
  test.each<[string, string, string, Change, string]>([
    [
      "any order of elements",
      "llama3/split",
      O,
      ({ values }) => Float64Array.from(shuffled(values.length), (i) => values[i]!),
      "WEIGHTS_DIFFER",
    ],
    [
      "elements of bf16, in any order",
      "gpt_oss/bf16",
      O,
      ({ values }) => Float64Array.from(shuffled(values.length), (i) => values[i]!),
      "WEIGHTS_DIFFER",
    ],
    [
      "heads permuted, and noise",
      "llama3/split",
      K,
      all(taken([2, 10, 54], 1, halvesToPairs(10)), noise(1e-3)),
      "WEIGHTS_DIFFER",
    ],
    [
      "transposed, and noise",
      "kimi_k2_7/images",
      "mm_projector.proj.0.weight",
      all(permuted([128, 128], [1, 0]), noise(1e-3)),
      "WEIGHTS_DIFFER",
    ],
  ])("%s", (_, name, key, change, code) => {
    expect(toldOf(name, key, change)).toMatchObject({ code });
  });
});

describe("rows of the siblings", () => {
  const [q, k, v] = ["q", "k", "v"].map((each) => `model.layers.0.self_attn.${each}_proj.weight`);
  test("queries, keys and values that were cut at the wrong rows", () => {
    const { source } = sampleOf("llama3/split");
    const parts = [k!, q!, v!].map((key) => bytesOf(source, key));
    const joined = Buffer.concat(parts);
    const bad = edited(source, {
      [q!]: { bytes: new Uint8Array(joined.subarray(0, parts[1]!.length)) },
      [k!]: { bytes: new Uint8Array(joined.subarray(parts[1]!.length, parts[1]!.length + parts[0]!.length)) },
    });
    const told = recognise(pairOf(modelsOf(source, bad), q!));
    expect(told).toMatchObject({ code: "FUSED_SPLIT" });
    expect(told.words).toContain(`rows 0 to 19 of "${k}", then rows 0 to 39 of "${q}"`);
    expect(recognise(pairOf(modelsOf(source, bad), k!)).words).toContain(`rows 40 to 59 of "${q}"`);
  });
});
