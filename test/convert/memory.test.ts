// Working buffers: every step of a conversion keeps to the one that the plan counts for it.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { adapters } from "../../adapters/registry.ts";
import { convert } from "../../src/convert/convert.ts";
import { conversionMemory } from "../../src/convert/memory.ts";
import { type ConversionOptions, planConversion } from "../../src/convert/plan.ts";
import type { Checkpoint } from "../../src/formats/checkpoint.ts";
import { openCheckpoint } from "../../src/model/open.ts";
import { f32, type State, writeSafetensors } from "../helpers/checkpoints.ts";
import { converted, hashes, sorted } from "../helpers/converted.ts";
import { scratch } from "../helpers/scratch.ts";

/** A head of 512 by 1024: RoPE's permutation moves 2 MiB of F32 at a time where the buffer lets it. */
const DIM = 1024;
const CONFIG = {
  model_type: "llama",
  vocab_size: 32,
  hidden_size: DIM,
  intermediate_size: 32,
  num_hidden_layers: 1,
  num_attention_heads: 2,
  num_key_value_heads: 1,
  max_position_embeddings: 64,
  rms_norm_eps: 1e-5,
  rope_theta: 1e4,
  tie_word_embeddings: false,
  torch_dtype: "float32",
};
const LAYER = {
  "input_layernorm.weight": [DIM],
  "post_attention_layernorm.weight": [DIM],
  "self_attn.q_proj.weight": [DIM, DIM],
  "self_attn.k_proj.weight": [DIM / 2, DIM],
  "self_attn.v_proj.weight": [DIM / 2, DIM],
  "self_attn.o_proj.weight": [DIM, DIM],
  "mlp.gate_proj.weight": [32, DIM],
  "mlp.up_proj.weight": [32, DIM],
  "mlp.down_proj.weight": [DIM, 32],
};

/** In torchtitan's layout. */
async function native(directory: string): Promise<string> {
  const shapes: [string, number[]][] = [
    ["model.embed_tokens.weight", [32, DIM]],
    ["model.norm.weight", [DIM]],
    ["lm_head.weight", [32, DIM]],
    ...Object.entries(LAYER).map(([key, shape]): [string, number[]] => [`model.layers.0.${key}`, shape]),
  ];
  const state: State = new Map(shapes.map(([key, shape], t) => [key, f32(shape, (i) => Math.sin(i + 100 * t))]));
  const hf = writeSafetensors(join(directory, "hf"), state);
  writeFileSync(join(hf, "config.json"), JSON.stringify(CONFIG));
  await converted(hf, join(directory, "native"));
  return join(directory, "native");
}

/** Of a buffer that counts. */
const LARGE = 2 ** 16;

/** Converts in as little memory as is possible; the planned buffer, the longest read of the source, and how many large buffers were read into. */
async function inLittleMemory(from: string, to: string, options: Omit<ConversionOptions, "adapters">) {
  const source = openCheckpoint(from);
  let longest = 0;
  const buffers = new Set<ArrayBufferLike>();
  const watched: Checkpoint = Object.assign(Object.create(source), {
    read(key: string, begin: number, target: Uint8Array) {
      longest = Math.max(longest, target.length);
      if (target.length > LARGE) buffers.add(target.buffer);
      source.read(key, begin, target);
    },
  });
  const plan = (maxRamBytes?: number) => planConversion(watched, to, { adapters, ...options, maxRamBytes });
  const { peakBytes, bufferBytes } = plan().memory;
  const steps = plan().mappings.length;
  const tight = plan(peakBytes - steps * (bufferBytes - 2 ** 20));
  await convert(tight, { fsync: false });
  source.close();
  return { steps, bufferBytes: tight.memory.bufferBytes, longest, buffers: buffers.size };
}

it.each([
  ["another native layout", { to: "vllm" }],
  ["an encoding", { encoding: "fp8" }],
])("two steps to %s read no more at a time than the buffer that is planned for one", async (_, options) => {
  const directory = scratch();
  const from = await native(directory);
  const [wide, tight] = [join(directory, "wide"), join(directory, "tight")];
  await converted(from, wide, options);
  const { steps, bufferBytes, longest } = await inLittleMemory(from, tight, options);
  expect([steps, bufferBytes]).toEqual([2, 2 ** 20]);
  expect(longest).toBeLessThanOrEqual((3 / 4) * bufferBytes);
  expect(sorted(hashes(tight))).toEqual(sorted(hashes(wide)));
});

it("tensors that are read once more for the seal share a buffer: each with its own would leave it to be collected", async () => {
  const directory = scratch();
  await native(directory);
  const { buffers } = await inLittleMemory(join(directory, "hf"), join(directory, "again"), {});
  // The other one stages what is permuted.
  expect(buffers).toBe(2);
});

it("a long run is given room for V8's young generation, and the least that is named is enough", () => {
  const least = (byteLength: number) => {
    const work = { mappings: [], source: {}, files: [{ name: "model.safetensors", byteLength, parts: [] }] };
    const { peakBytes } = conversionMemory(work, undefined);
    expect(() => conversionMemory(work, peakBytes - 1)).toThrow(`at least ${peakBytes} bytes`);
    expect(() => conversionMemory(work, peakBytes)).not.toThrow();
    return peakBytes;
  };
  expect(least(1e9) - least(1e8)).toBe(20e6);
});
