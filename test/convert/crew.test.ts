// Threads of one conversion: what they write together is what one writes alone, and what stops one of them stops all.
import { createHash } from "node:crypto";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { adapters } from "../../adapters/registry.ts";
import { bundle } from "../../scripts/bundle.mjs";
import { type Conversion, type ConvertOptions, convert } from "../../src/convert/convert.ts";
import type { PlannedFrom } from "../../src/convert/crew/messages.ts";
import { type ConversionOptions, planConversion } from "../../src/convert/plan.ts";
import { openCheckpoint } from "../../src/model/open.ts";
import { homeOf } from "../../src/output/home.ts";
import { f32, type State, writeSafetensors } from "../helpers/checkpoints.ts";
import { FIXTURES } from "../helpers/fixtures.ts";
import { scratch } from "../helpers/scratch.ts";

let tools: string;
let module: string;

beforeAll(async () => {
  // Beside the modules that it takes from node_modules.
  const cache = new URL("../../.cache/", import.meta.url).pathname;
  mkdirSync(cache, { recursive: true });
  tools = mkdtempSync(join(cache, "crew-"));
  module = join(tools, "convert-thread.js");
  const [command, thread] = ["main", "threads/convert"].map(
    (name) => new URL(`../../src/cli/${name}.ts`, import.meta.url).pathname,
  );
  await bundle(command!, tools, { "convert-thread": thread! });
}, 60_000);
afterAll(() => rmSync(tools, { recursive: true }));

type Options = Partial<Omit<ConversionOptions, "adapters">> &
  Omit<ConvertOptions, "crew"> & { from?: Partial<PlannedFrom> };

async function run(source: string, target: string, workers: number, all: Options = {}): Promise<Conversion> {
  const { from, resume, signal, onProgress, onKept, ...options } = all;
  const checkpoint = openCheckpoint(source);
  try {
    const plan = planConversion(checkpoint, target, { adapters, sha256: true, ...options, workers });
    const crew = {
      module,
      from: { source, target, adapters: [], options: { sha256: true, ...options, workers }, ...from },
    };
    return await convert(plan, {
      fsync: false,
      crew,
      ...(resume === undefined ? {} : { resume }),
      ...(signal === undefined ? {} : { signal }),
      ...(onProgress === undefined ? {} : { onProgress }),
      ...(onKept === undefined ? {} : { onKept }),
    });
  } finally {
    checkpoint.close();
  }
}

const contents = (path: string): Record<string, string> =>
  Object.fromEntries(
    readdirSync(path, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name))
      .map((file) => [file.slice(path.length), createHash("sha256").update(readFileSync(file)).digest("hex")])
      .sort(),
  );

/** What is told of a run, but for where and how long. */
const told = ({ to: _, seconds: __, peakRamBytes: ___, ...rest }: Conversion) => rest;

const dir = (name: string): string => join(FIXTURES, name);

/** A llama with tensors that take several tasks. */
function wide(directory: string): string {
  const [dim, ffn, vocab] = [512, 1536, 2100];
  const layer = {
    "input_layernorm.weight": [dim],
    "post_attention_layernorm.weight": [dim],
    "self_attn.q_proj.weight": [dim, dim],
    "self_attn.k_proj.weight": [dim / 2, dim],
    "self_attn.v_proj.weight": [dim / 2, dim],
    "self_attn.o_proj.weight": [dim, dim],
    "mlp.gate_proj.weight": [ffn, dim],
    "mlp.up_proj.weight": [ffn, dim],
    "mlp.down_proj.weight": [dim, ffn],
  };
  const shapes: [string, number[]][] = [
    ["model.embed_tokens.weight", [vocab, dim]],
    ["model.norm.weight", [dim]],
    ["lm_head.weight", [vocab, dim]],
    ...[0, 1].flatMap((l) =>
      Object.entries(layer).map(([key, shape]): [string, number[]] => [`model.layers.${l}.${key}`, shape]),
    ),
  ];
  const state: State = new Map(shapes.map(([key, shape], t) => [key, f32(shape, (i) => Math.sin(i * 0.37 + t))]));
  const hf = writeSafetensors(join(directory, "wide"), state);
  const config = {
    model_type: "llama",
    vocab_size: vocab,
    hidden_size: dim,
    intermediate_size: ffn,
    num_hidden_layers: 2,
    num_attention_heads: 4,
    num_key_value_heads: 2,
    max_position_embeddings: 64,
    rms_norm_eps: 1e-5,
    rope_theta: 1e4,
    tie_word_embeddings: false,
    torch_dtype: "float32",
  };
  writeFileSync(join(hf, "config.json"), JSON.stringify(config));
  return hf;
}

let made: string;
let hf: string;
let native: string;
beforeAll(async () => {
  made = mkdtempSync(join(tmpdir(), "crew-wide-"));
  hf = wide(made);
  native = join(made, "native");
  await run(hf, native, 1);
}, 60_000);
afterAll(() => rmSync(made, { recursive: true }));

describe("the same bytes and the same report as of one thread", () => {
  it.each<[string, () => string, Options]>([
    ["llama → DCP", () => hf, {}],
    ["llama → DCP of three ranks", () => hf, { ranks: 3 }],
    ["llama → DCP, cast", () => hf, { dtype: ["bf16"] }],
    ["llama → meta, two ranks", () => hf, { to: "meta", ranks: 2 }],
    ["llama → vLLM, a single .pt", () => hf, { to: "raw", format: "pt" }],
    ["llama, without a seal", () => hf, { seal: false }],
    ["DCP → shards", () => native, { maxShardSize: 5e6 }],
    ["DCP → f16", () => native, { dtype: ["f16"] }],
    ["MoE → DCP", () => dir("qwen3_moe/untied/hf"), {}],
    ["FP8 → DCP", () => dir("deepseek_v3/fp8/hf"), {}],
  ])("%s", async (_, source, options) => {
    if (!existsSync(source())) throw new Error(`no ${source()}`);
    const directory = scratch();
    const [one, three] = [join(directory, "one"), join(directory, "three")];
    const alone = await run(source(), one, 1, options);
    const together = await run(source(), three, 3, options);
    expect(contents(three)).toEqual(contents(one));
    expect(told(together)).toEqual(told(alone));
    expect(readdirSync(directory).sort()).toEqual(["one", "three"]);
  });
});

async function failure(running: Promise<unknown>): Promise<unknown> {
  return running.then(
    () => expect.fail("no error"),
    (error: unknown) => error,
  );
}

describe("what one of them finds", () => {
  it("ends the conversion as it would alone, and leaves nothing: a cast beyond the range", async () => {
    const directory = scratch();
    const big = join(directory, "big");
    cpSync(hf, big, { recursive: true });
    const path = join(big, readdirSync(big).find((name) => name.endsWith(".safetensors"))!);
    const bytes = readFileSync(path);
    bytes.writeFloatLE(1e9, bytes.length - 4096);
    writeFileSync(path, bytes);
    const errors = [];
    for (const workers of [1, 3])
      errors.push(await failure(run(big, join(directory, "out"), workers, { dtype: ["f16"] })));
    expect(errors[1]).toMatchObject({ code: "CAST_OVERFLOW", exitCode: 3 });
    expect(errors[1]).toEqual(errors[0]);
    expect(readdirSync(directory)).toEqual(["big"]);
  });

  it("a bit that changed in a source that has CRC-32, though none of them reads it whole", async () => {
    const directory = scratch();
    const bad = join(directory, "bad");
    cpSync(native, bad, { recursive: true });
    const path = join(bad, "__0_0.distcp");
    const bytes = readFileSync(path);
    const at = Math.floor(bytes.length / 2);
    bytes[at] = bytes[at]! ^ 1;
    writeFileSync(path, bytes);
    const errors = [];
    for (const workers of [1, 3]) errors.push(await failure(run(bad, join(directory, "out"), workers)));
    expect(errors[1]).toMatchObject({ code: "CRC_MISMATCH" });
    expect(errors[1]).toEqual(errors[0]);
    expect(readdirSync(directory)).toEqual(["bad"]);
  });

  it("another plan than the first thread's: nothing is written by it", async () => {
    const directory = scratch();
    const target = join(directory, "out");
    const from = { options: { sha256: true, dtype: ["bf16"], workers: 3 } };
    expect(await failure(run(hf, target, 3, { from }))).toMatchObject({ code: "FILE_CHANGED" });
    expect(readdirSync(directory)).toEqual([]);
  });

  it("a thread that ends is no conversion", async () => {
    const directory = scratch();
    const dead = join(tools, "dead.mjs");
    writeFileSync(dead, "process.exit(0)");
    const before = module;
    module = dead;
    try {
      const error = await failure(run(hf, join(directory, "out"), 3));
      expect(`${error}`).toContain("a thread of the conversion ended");
    } finally {
      module = before;
    }
    expect(readdirSync(directory)).toEqual([]);
  });
});

describe("a conversion that was stopped", () => {
  it.each([
    [3, 2],
    [3, 1],
    [1, 3],
  ])("with %d threads is continued with %d", async (first, second) => {
    const directory = scratch();
    const target = join(directory, "out");
    const stop = new AbortController();
    const onProgress = ({ label, done }: { label: string; done: number }) => {
      if (label === "writing" && done > 8e6) stop.abort();
    };
    const options = { maxShardSize: 3e6 };
    await expect(run(native, target, first, { ...options, signal: stop.signal, onProgress })).rejects.toThrow();
    expect(existsSync(homeOf(target))).toBe(true);
    const result = await run(native, target, second, { ...options, resume: true });
    const whole = join(directory, "whole");
    const alone = await run(native, whole, 1, options);
    expect(contents(target)).toEqual(contents(whole));
    expect(result.seal).toEqual(alone.seal);
  });
});

it("memory decides how many there are, and the plan says so", () => {
  const source = openCheckpoint(hf);
  const plan = (maxRamBytes?: number) => planConversion(source, "x", { adapters, workers: 4, maxRamBytes }).memory;
  expect(plan().workers).toBe(4);
  const { peakBytes } = plan();
  expect(plan(peakBytes - 1).workers).toBe(3);
  expect(plan(peakBytes).peakBytes).toBeLessThanOrEqual(peakBytes);
  expect(plan(150e6).workers).toBe(1);
  source.close();
});
