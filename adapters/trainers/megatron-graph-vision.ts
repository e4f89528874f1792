// What Megatron Bridge's Qwen3VLModel has beside its language model: the vision tower, three-axis positions, and the rows of
// images among those of text. Suffixes name axes as in numerics/graph.ts; P patches of all images, M of them merged, U width.
//   NVIDIA-NeMo/Megatron-Bridge@067f987df:src/megatron/bridge/models/qwen_vl/modelling_qwen3_vl/{model,vision_model,rope,utils}.py
//   NVIDIA-NeMo/Megatron-Bridge@v0.3.1:src/megatron/bridge/models/qwen_vl/modelling_qwen3_vl/model.py
//   huggingface/transformers@v4.57.6:src/transformers/models/qwen3_vl/modeling_qwen3_vl.py
import type { ImageInput, KnownDifference, Node, Ops, RopeTable, Tap, Weights } from "../../numerics/graph.ts";
import { type RopeFrequencies, type RopeSpec, ropeTable, transformersFrequencies } from "../../numerics/rope.ts";
import { InputError } from "../../src/base/errors.ts";

export interface Tower {
  readonly nBlocks: number;
  readonly dim: number;
  readonly nHeads: number;
  readonly mergeSize: number;
  readonly nPositions: number;
  readonly ropeTheta: number;
  /** Blocks whose output is merged and handed on, too; none unless given. */
  readonly deepstackBlocks?: readonly number[];
}

export interface VisionTokens {
  readonly image: number;
  readonly visionStart: number;
}

/** `layernorm_epsilon` of get_vision_model_config, and of Hugging Face's tower. */
const EPS = 1e-6;
/** Of Qwen3VLVisionRotaryEmbedding. */
const THETA = 10_000;

/** What a patch merger has between its linear maps. */
export type MergerGelu = "geluTanh" | "gelu";

/** How Megatron-Core's tower differs from transformers'. Files with Hugging Face's tower have no such difference. */
export const MERGER_GELU: Omit<KnownDifference, "undone"> = {
  code: "VISION_MERGER_GELU",
  explanation:
    "the vision tower's patch mergers, DeepStack's too, have the tanh approximation of GELU in Megatron Bridge since 0.4 and the exact one in transformers",
  source:
    "https://github.com/NVIDIA-NeMo/Megatron-Bridge/blob/067f987df/src/megatron/bridge/models/qwen_vl/modelling_qwen3_vl/utils.py#L154",
  fix: "accept the difference: 5e-9 to 3e-7 nats/token in tiny models",
};

type Grids = ImageInput["grids"];

/** @throws InputError NO_GRAPH for what the tower has no argument for */
export function checkTowerRope({ ropeTheta }: Tower): void {
  if (ropeTheta === THETA) return;
  throw noGraph(
    `Megatron Bridge's vision tower turns by ${THETA}`,
    `rope_theta ${THETA} in vision_config`,
    `${ropeTheta}`,
  );
}

/**
 * Qwen3VLMultimodalRotaryEmbedding, which has no scaling.
 * @throws InputError NO_GRAPH
 */
export function mropeFrequencies(rope: RopeSpec): RopeFrequencies {
  if (rope.kind === "default") return transformersFrequencies(rope);
  throw noGraph("Megatron Bridge's multimodal RoPE has no scaling", "plain RoPE", rope.kind);
}

const noGraph = (message: string, expected: string, found: string): InputError =>
  new InputError("NO_GRAPH", message, {
    expected,
    found,
    help: "convert it to hf and compare that: `diff` shows that both hold the same weights",
  });

interface Seen<N> {
  readonly images_MD: N;
  /** What DeepStack adds to images in the first layers. */
  readonly deepstack: readonly N[];
}

/** Qwen3VLVisionModel, Megatron-Core's or Hugging Face's, as the files have it. `merger` is what the former's mergers have. */
export function* visionModel<N extends Node>(
  op: Ops<N>,
  weights: Weights<N>,
  has: (key: string) => boolean,
  tower: Tower,
  { pixels, patches: P, patchDim, grids }: ImageInput,
  merger: MergerGelu,
): Generator<Tap<N>, Seen<N>, void> {
  const { dim: U, mergeSize, deepstackBlocks = [] } = tower;
  const weight = (name: string) => weights(`vision_model.${name}`);
  const own = has("vision_model.blocks.0.norm1.weight") ? ofTransformers : ofMegatron(merger);
  const { modules, qkvOf, gelu } = own;
  const linear = (x: N, module: string) => op.linear(x, weight(`${module}.weight`), weight(`${module}.bias`));
  const norm = (x: N, name: string) => op.layerNorm(x, weight(`${name}weight`), weight(`${name}bias`), EPS);

  const places_P = grids.flatMap((grid) => placesOf(grid, mergeSize));
  const kernel = op.reshape(weight("patch_embed.proj.weight"), [U, patchDim]);
  const embedded_PU = op.linear(op.constant(pixels, [P, patchDim]), kernel, weight("patch_embed.proj.bias"));
  let x_PU = op.add(embedded_PU, interpolated(op, weight("pos_embed.weight"), tower, grids));
  yield { name: "vision.embed", value: x_PU };

  const table = patchTable(tower, places_P);
  // build_packed_seq_params: each frame is a sequence.
  const mask = { kind: "segments", lengths: grids.flatMap(([t, h, w]) => Array<number>(t).fill(h * w)) } as const;
  const merge = (x: N, module: string, { postshuffle }: { readonly postshuffle: boolean }) => {
    const joined = [P / mergeSize ** 2, mergeSize ** 2 * U];
    const name = `${module}.${modules.mergerNorm}.`;
    const x_MZ = postshuffle ? norm(op.reshape(x, joined), name) : op.reshape(norm(x, name), joined);
    return linear(op.map(gelu, linear(x_MZ, `${module}.linear_fc1`)), `${module}.linear_fc2`);
  };
  const deepstack: N[] = [];
  for (let b = 0; b < tower.nBlocks; b++) {
    const block = `${modules.blocks}.${b}`;
    const mixed = linear(norm(x_PU, `${block}.${modules.norms[0]}`), `${block}.${modules.qkv}`);
    const [q, k, v] = qkvOf(op, mixed, tower.nHeads);
    const core = op.attention(op.rope(q, table, "half"), op.rope(k, table, "half"), v, {
      scale: (U / tower.nHeads) ** -0.5,
      mask,
    });
    x_PU = op.add(x_PU, linear(op.reshape(core, [P, U]), `${block}.${modules.projection}`));
    const inner = op.map("geluTanh", linear(norm(x_PU, `${block}.${modules.norms[1]}`), `${block}.mlp.linear_fc1`));
    x_PU = op.add(x_PU, linear(inner, `${block}.mlp.linear_fc2`));
    yield { name: `vision.${b}`, value: x_PU, keep: deepstack };
    const m = deepstackBlocks.indexOf(b);
    if (m < 0) continue;
    deepstack.push(merge(x_PU, `${modules.mergers}.${m}`, { postshuffle: true }));
    yield { name: `vision.${b}.deepstack`, value: deepstack.at(-1)!, keep: [x_PU, ...deepstack] };
  }
  const images_MD = merge(x_PU, "merger", { postshuffle: false });
  yield { name: "vision.merged", value: images_MD, keep: deepstack };
  return { images_MD, deepstack };
}

/** Rows of linear_qkv lie by head: its query, key and value. */
const ofMegatron = (gelu: MergerGelu) => ({
  gelu,
  modules: {
    blocks: "decoder.layers",
    norms: ["self_attention.linear_qkv.layer_norm_", "mlp.linear_fc1.layer_norm_"],
    qkv: "self_attention.linear_qkv",
    projection: "self_attention.linear_proj",
    mergers: "decoder.deepstack_merger_list",
    mergerNorm: "patch_norm",
  },
  qkvOf<N extends Node>(op: Ops<N>, mixed: N, heads: number): readonly [N, N, N] {
    const [P, channels] = [mixed.shape[0]!, mixed.shape[1]! / heads / 3];
    const mixed_PNC = op.reshape(mixed, [P, heads, 3 * channels]);
    const part = (i: number) => op.slice(mixed_PNC, 2, i * channels, (i + 1) * channels);
    return [part(0), part(1), part(2)];
  },
});

/** Rows of qkv: all queries, all keys, all values. */
const ofTransformers = {
  gelu: "gelu",
  modules: {
    blocks: "blocks",
    norms: ["norm1.", "norm2."],
    qkv: "attn.qkv",
    projection: "attn.proj",
    mergers: "deepstack_merger_list",
    mergerNorm: "norm",
  },
  qkvOf<N extends Node>(op: Ops<N>, mixed: N, heads: number): readonly [N, N, N] {
    const [P, width] = [mixed.shape[0]!, mixed.shape[1]! / 3];
    const part = (i: number) => op.reshape(op.slice(mixed, 1, i * width, (i + 1) * width), [P, heads, width / heads]);
    return [part(0), part(1), part(2)];
  },
} as const;

type Place = readonly [row: number, column: number];

/** `rot_pos_emb`: rows and columns of blocks, then of patches in a block, once for each frame. */
function placesOf([frames, height, width]: Grids[number], m: number): Place[] {
  const sizes = [height / m, width / m, m, m];
  const frame = Array.from({ length: height * width }, (_, p): Place => {
    const [blockRow, blockColumn, row, column] = unravelled(p, sizes);
    return [blockRow! * m + row!, blockColumn! * m + column!];
  });
  return Array<Place[]>(frames).fill(frame).flat();
}

/** Indices along axes of these sizes, the last running fastest. */
function unravelled(index: number, sizes: readonly number[]): number[] {
  const indices: number[] = [];
  let rest = index;
  for (const size of sizes.toReversed()) {
    indices.unshift(rest % size);
    rest = Math.floor(rest / size);
  }
  return indices;
}

/** Frequencies of the row, then those of the column. */
function patchTable({ dim, nHeads }: Tower, places_P: readonly Place[]): RopeTable {
  const frequencies = transformersFrequencies({ kind: "default", theta: THETA, dims: dim / nHeads / 2 });
  // Two positions a patch, one behind another: their angles are those of the patch.
  const { cos, sin, pairs } = ropeTable(frequencies, places_P.flat());
  return { tokens: places_P.length, pairs: 2 * pairs, cos, sin };
}

/** `fast_pos_embed_interpolate`: the four places of a square table around each patch, weighed in f32. */
function interpolated<N extends Node>(op: Ops<N>, table: N, { nPositions, mergeSize }: Tower, grids: Grids): N {
  const side = Math.floor(Math.sqrt(nPositions));
  const corners = [0, 1, 2, 3].map(() => ({ rows: [] as number[], weights: [] as number[] }));
  for (const grid of grids) {
    const [ofRows, ofColumns] = [around(side, grid[1]), around(side, grid[2])];
    for (const [row, column] of placesOf(grid, mergeSize)) {
      for (const [i, corner] of corners.entries()) {
        const [y, x] = [ofRows[row]![i >> 1]!, ofColumns[column]![i & 1]!];
        corner.rows.push(y.place * side + x.place);
        corner.weights.push(Math.fround(y.weight * x.weight));
      }
    }
  }
  const [first, ...others] = corners.map(({ rows, weights }) =>
    op.mul(op.gather(table, rows), op.constant(weights, [rows.length, 1])),
  );
  return others.reduce((sum, corner) => op.add(sum, corner), first!);
}

interface Share {
  readonly place: number;
  readonly weight: number;
}

/** For each of `size` steps along an axis of `side` places, the two places around it. */
const around = (side: number, size: number): (readonly [Share, Share])[] =>
  linspace(side - 1, size).map((at) => {
    const place = Math.floor(at);
    const beyond = Math.fround(at - place);
    return [
      { place, weight: Math.fround(1 - beyond) },
      { place: Math.min(place + 1, side - 1), weight: beyond },
    ];
  });

/** torch.linspace(0, end, size) in f32: the second half is counted back from the end. */
function linspace(end: number, size: number): number[] {
  if (size === 1) return [0];
  const step = Math.fround(end / (size - 1));
  return Array.from({ length: size }, (_, i) =>
    i < Math.floor(size / 2) ? Math.fround(step * i) : Math.fround(end - Math.fround(step * (size - 1 - i))),
  );
}

/** Time, row and column of each token. */
export type Positions = readonly (readonly [number, number, number])[];

/**
 * `_build_llm_rope_positions`: as many images are looked for as have the token before them. A run of text, and an image, begins
 * one position behind the largest before it.
 */
export function mropePositions(
  ids_T: readonly number[],
  grids: Grids,
  { image, visionStart }: VisionTokens,
  m: number,
): Positions {
  const positions: (readonly [number, number, number])[] = [];
  let [next, images] = [0, ids_T.filter((id, t) => id === visionStart && ids_T[t + 1] === image).length];
  for (const [t, h, w] of grids) {
    const begin = ids_T.indexOf(image, positions.length);
    if (images-- === 0 || begin < 0) break;
    for (; positions.length < begin; next++) positions.push([next, next, next]);
    const sizes = [t, h / m, w / m];
    for (let i = 0; i < (t * h * w) / m ** 2; i++) {
      const [frame, row, column] = unravelled(i, sizes);
      positions.push([next + frame!, next + row!, next + column!]);
    }
    next += Math.max(...sizes);
  }
  for (; positions.length < ids_T.length; next++) positions.push([next, next, next]);
  return positions;
}

/** `apply_interleaved_mrope`: of the frequencies that turn with time, 1, 4, … turn with the row, 2, 5, … with the column. */
export function mropeTable(frequencies: RopeFrequencies, positions: Positions, section: readonly number[]): RopeTable {
  const axes = [0, 1, 2].map((axis) =>
    ropeTable(
      frequencies,
      positions.map((position) => position[axis]!),
    ),
  );
  const pairs = frequencies.invFreq.length;
  const axisOf = Array.from({ length: pairs }, (_, pair) => (pair < 3 * section[pair % 3]! ? pair % 3 : 0));
  const mixed = (part: "cos" | "sin") => axes[0]![part].map((_, i) => axes[axisOf[i % pairs]!]![part][i]!);
  return { tokens: positions.length, pairs, cos: mixed("cos"), sin: mixed("sin") };
}

/** `x[mask] = rows`: rows of x at the places given are those of `rows_MD`, in order. */
export function placed<N extends Node>(op: Ops<N>, x_TD: N, rows_MD: N, places: readonly number[]): N {
  const T = x_TD.shape[0]!;
  const rows_T = Array.from({ length: T }, (_, t) => t);
  for (const [m, t] of places.entries()) rows_T[t] = T + m;
  return op.gather(op.concat([x_TD, rows_MD], 0), rows_T);
}
