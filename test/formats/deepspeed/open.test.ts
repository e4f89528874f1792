// Steps of DeepSpeed, as its engine saved them, against what its own zero_to_fp32 makes of them.
import { createHash } from "node:crypto";
import { copyFileSync, cpSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { adapters } from "../../../adapters/registry.ts";
import { InputError } from "../../../src/base/errors.ts";
import type { Checkpoint } from "../../../src/formats/checkpoint.ts";
import { openModel } from "../../../src/model/model.ts";
import { openCheckpoint } from "../../../src/model/open.ts";
import { converted, hashes } from "../../helpers/converted.ts";
import { FIXTURES } from "../../helpers/fixtures.ts";
import { scratch } from "../../helpers/scratch.ts";

const CASES = ["zero1-frozen", "zero2-tied", "zero3-buffers"] as const;
const at = (name: string): string => `${FIXTURES}deepspeed/${name}`;
const STEP = "global_step2";
const optimizerOf = (rank: number): string => `bf16_zero_pp_rank_${rank}_mp_rank_00_optim_states.pt`;

interface Hash {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly sha256: string;
}

function hashesIn(path: string): Record<string, Hash> {
  const value: Record<string, Hash> = JSON.parse(readFileSync(path, "utf8"));
  return value;
}

function bytesOf(checkpoint: Checkpoint, key: string): Buffer {
  const bytes = Buffer.alloc(checkpoint.tensors.get(key)?.byteLength ?? 0);
  checkpoint.read(key, 0, bytes);
  return bytes;
}

const hashOf = (checkpoint: Checkpoint, key: string): Hash => {
  const { dtype, shape } = checkpoint.tensors.get(key)!;
  return { dtype, shape, sha256: createHash("sha256").update(bytesOf(checkpoint, key)).digest("hex") };
};

const isModels = (key: string): boolean => !key.startsWith("optimizer.");

/** A copy of a case that may be damaged. */
function copyOf(name: (typeof CASES)[number]): string {
  const folder = join(scratch(), "run");
  cpSync(at(name), folder, { recursive: true });
  return folder;
}

function refusal(work: () => unknown): InputError {
  try {
    work();
  } catch (error) {
    if (error instanceof InputError) return error;
    throw error;
  }
  throw new Error("nothing was refused");
}

const opening = (path: string) => refusal(() => openCheckpoint(path).close());

/** What reading all of it finds. */
const reading = (path: string) =>
  refusal(() => {
    const checkpoint = openCheckpoint(path);
    try {
      for (const key of checkpoint.tensors.keys()) bytesOf(checkpoint, key);
      checkpoint.verify();
    } finally {
      checkpoint.close();
    }
  });

test.each(CASES)("%s: every tensor that zero_to_fp32 writes, bit for bit", (name) => {
  const checkpoint = openCheckpoint(at(name));
  const expected = hashesIn(`${at(name)}/to_fp32.sha256.json`);
  const found = Object.fromEntries(Object.keys(expected).map((key) => [key, hashOf(checkpoint, key)]));
  expect(found).toEqual(expected);
  checkpoint.verify();
  expect(checkpoint.notChecked?.()).toBeNull();
  checkpoint.close();
});

test("what ZeRO-1 freezes is there, too, which zero_to_fp32 leaves out; nothing else is", () => {
  const checkpoint = openCheckpoint(at("zero1-frozen"));
  const module = hashesIn(`${at("zero1-frozen")}/module.sha256.json`);
  const trained = hashesIn(`${at("zero1-frozen")}/to_fp32.sha256.json`);
  expect([...checkpoint.tensors.keys()].filter(isModels).sort()).toEqual(Object.keys(module).sort());
  const frozen = Object.keys(module).filter((key) => trained[key] === undefined);
  expect(frozen).toHaveLength(6);
  for (const key of frozen) {
    const wide = bytesOf(checkpoint, key);
    const upper = Buffer.from(Array.from({ length: wide.length / 2 }, (_, i) => wide[4 * (i >> 1) + 2 + (i & 1)]!));
    expect(createHash("sha256").update(upper).digest("hex")).toBe(module[key]?.sha256);
    expect(wide.filter((_, i) => i % 4 < 2).every((byte) => byte === 0)).toBe(true);
  }
  checkpoint.close();
});

test.each(CASES)("%s: any range of bytes, across elements, ranks and groups", (name) => {
  const checkpoint = openCheckpoint(at(name));
  for (const [key, { byteLength }] of checkpoint.tensors) {
    const whole = bytesOf(checkpoint, key);
    for (let begin = 0; begin < byteLength; begin += 997) {
      const part = Buffer.alloc(Math.min(997, byteLength - begin));
      checkpoint.read(key, begin, part);
      if (!part.equals(whole.subarray(begin, begin + part.length))) expect.fail(`${key} from ${begin} on`);
    }
  }
  checkpoint.close();
});

test.each(CASES)("%s: what the optimizer keeps lies beside, by the names of the weights", (name) => {
  const checkpoint = openCheckpoint(at(name));
  const trained = [...checkpoint.tensors.keys()].filter((key) => key.endsWith(".exp_avg"));
  const frozen = { "zero1-frozen": "mlp.", "zero2-tied": "v_proj.", "zero3-buffers": "kv_a_proj" }[name];
  const weights = [...checkpoint.tensors.keys()].filter(
    (key) => isModels(key) && !key.includes(frozen) && !/correction_bias|lm_head/.test(key),
  );
  expect(
    trained
      .filter((key) => !key.includes("lm_head"))
      .map((key) => key.slice(16, -8))
      .sort(),
  ).toEqual(weights.sort());
  for (const key of weights) {
    const { shape } = checkpoint.tensors.get(key)!;
    expect(checkpoint.tensors.get(`optimizer.state.${key}.exp_avg_sq`)?.shape).toEqual(shape);
    expect(bytesOf(checkpoint, `optimizer.state.${key}.step`).readFloatLE()).toBe(2);
    const squares = bytesOf(checkpoint, `optimizer.state.${key}.exp_avg_sq`);
    expect(new Float32Array(squares.buffer, squares.byteOffset, squares.length / 4).every((value) => value >= 0)).toBe(
      true,
    );
  }
  checkpoint.close();
});

test("a step is a checkpoint, too, and its config lies above it", () => {
  const checkpoint = openCheckpoint(join(at("zero2-tied"), STEP));
  expect(checkpoint.companions?.pathOf("config.json")).toBe(join(at("zero2-tied"), "config.json"));
  expect(hashOf(checkpoint, "lm_head.weight")).toEqual(hashOf(checkpoint, "model.embed_tokens.weight"));
  expect(checkpoint.savedBy).toBe(3);
  checkpoint.close();
});

test("without partitions, the weights that the model computed with", () => {
  const folder = copyOf("zero2-tied");
  for (const rank of [0, 1, 2]) rmSync(join(folder, STEP, optimizerOf(rank)));
  const checkpoint = openCheckpoint(folder);
  const module = hashesIn(`${folder}/module.sha256.json`);
  for (const [key, hash] of Object.entries(module)) expect(hashOf(checkpoint, `module.${key}`)).toEqual(hash);
  checkpoint.close();
});

test("a rank that is missing, its number, and which one", () => {
  const folder = copyOf("zero2-tied");
  rmSync(join(folder, STEP, optimizerOf(1)));
  const error = opening(folder);
  expect(error).toMatchObject({ code: "RANK_MISSING", details: { found: "2 of 3 ranks" } });
  expect(error.details.file).toBe(join(folder, STEP, optimizerOf(1)));
});

test("model states that are missing", () => {
  const whole = copyOf("zero1-frozen");
  rmSync(join(whole, STEP, "mp_rank_00_model_states.pt"));
  expect(opening(whole)).toMatchObject({ code: "RANK_MISSING" });
  const own = copyOf("zero3-buffers");
  rmSync(join(own, STEP, "zero_pp_rank_2_mp_rank_00_model_states.pt"));
  expect(opening(own).details.file).toContain("zero_pp_rank_2_mp_rank_00_model_states.pt");
});

test("ZeRO-3 without the optimizer's files has no weights", () => {
  const folder = copyOf("zero3-buffers");
  for (const rank of [0, 1, 2]) rmSync(join(folder, STEP, optimizerOf(rank)));
  expect(opening(folder)).toMatchObject({ code: "PARTITION_MISSING" });
});

test("a rank of another run, and a rank twice", () => {
  const more = copyOf("zero1-frozen");
  copyFileSync(join(more, STEP, optimizerOf(1)), join(more, STEP, optimizerOf(7)));
  expect(opening(more)).toMatchObject({ code: "RANK_FOREIGN", details: { found: "rank 7" } });
  const other = copyOf("zero1-frozen");
  copyFileSync(join(at("zero2-tied"), STEP, optimizerOf(1)), join(other, STEP, optimizerOf(1)));
  expect(opening(other)).toMatchObject({ code: "RANK_FOREIGN", details: { found: "one of 3 ranks of ZeRO-2" } });
  const twice = copyOf("zero1-frozen");
  copyFileSync(join(twice, STEP, optimizerOf(1)), join(twice, STEP, optimizerOf(1).replace("bf16_", "")));
  expect(opening(twice)).toMatchObject({ code: "RANK_TWICE" });
});

test("one partition alone, and one rank's states of ZeRO-3, are no model", () => {
  const alone = (path: string) =>
    refusal(() => {
      const checkpoint = openCheckpoint(path);
      try {
        openModel(checkpoint, { adapters, config: at("zero2-tied") });
      } finally {
        checkpoint.close();
      }
    });
  expect(alone(join(at("zero2-tied"), STEP, optimizerOf(1)))).toMatchObject({
    code: "SHARD_ALONE",
    details: { help: `give the folder, ${join(at("zero2-tied"), STEP)}` },
  });
  expect(alone(join(at("zero3-buffers"), STEP, "zero_pp_rank_1_mp_rank_00_model_states.pt"))).toMatchObject({
    code: "UNCONSOLIDATED",
    details: { help: expect.stringContaining("optim_states") },
  });
});

test("a model of Hugging Face out of a step: its notes, and what is left out by name", async () => {
  const out = join(scratch(), "out");
  const { to, tensors, notes, dropped } = await converted(join(at("zero2-tied"), STEP), out, { dtype: ["bf16"] });
  expect(to).toMatchObject({ layout: "hf", format: "safetensors" });
  expect(tensors).toBe(21);
  expect(notes).toEqual(
    expect.arrayContaining([expect.stringMatching(/3 ranks \(DeepSpeed ZeRO-2\); each is compared/)]),
  );
  expect(notes).toEqual(expect.arrayContaining([expect.stringMatching(/^2 frozen tensors and buffers .* widened/)]));
  expect(dropped.map(({ key }) => key)).toEqual(
    expect.arrayContaining(["optimizer.state.model.norm.weight.exp_avg", "ds_config"]),
  );
  // Rounded once, the trained weights are those that the model computed with.
  const module = hashesIn(`${at("zero2-tied")}/module.sha256.json`);
  expect(Object.fromEntries(hashes(out))).toEqual(module);
});

test("the 16-bit weights of ZeRO-2, by the path of their file: frozen ones stand there twice", async () => {
  const out = join(scratch(), "out");
  const file = join(at("zero2-tied"), STEP, "mp_rank_00_model_states.pt");
  const { dropped } = await converted(file, out, { config: at("zero2-tied") });
  expect(Object.fromEntries(hashes(out))).toEqual(hashesIn(`${at("zero2-tied")}/module.sha256.json`));
  expect(dropped).toContainEqual({
    key: "frozen_param_fragments.model.layers.0.self_attn.v_proj.weight",
    reason: "trainer state",
  });
});

test("parts of tensor or pipeline parallelism are not joined", () => {
  const folder = copyOf("zero1-frozen");
  copyFileSync(join(folder, STEP, optimizerOf(1)), join(folder, STEP, "zero_pp_rank_0_mp_rank_01_optim_states.pt"));
  expect(opening(folder)).toMatchObject({ code: "UNCONSOLIDATED" });
});

test("ranks that were swapped: by their own record, else by the model's weights", () => {
  const swapped = (name: (typeof CASES)[number]): string => {
    const folder = copyOf(name);
    const [first, second] = [optimizerOf(0), optimizerOf(1)].map((file) => join(folder, STEP, file));
    renameSync(first!, join(folder, "x"));
    renameSync(second!, first!);
    renameSync(join(folder, "x"), second!);
    return folder;
  };
  expect(opening(swapped("zero1-frozen"))).toMatchObject({ code: "PARTITION_DIFFERS" });
  expect(reading(swapped("zero2-tied"))).toMatchObject({ code: "WEIGHTS_DISAGREE" });
});

test("`latest` names a step that is not there; two steps without it", () => {
  const folder = copyOf("zero1-frozen");
  writeFileSync(join(folder, "latest"), "global_step9");
  expect(opening(folder)).toMatchObject({ code: "STEP_MISSING", details: { found: STEP } });
  expect(opening(folder).details.help).toContain(join(folder, STEP));
  rmSync(join(folder, "latest"));
  openCheckpoint(folder).close();
  mkdirSync(join(folder, "global_step10"));
  copyFileSync(join(folder, STEP, optimizerOf(0)), join(folder, "global_step10", optimizerOf(0)));
  expect(opening(folder)).toMatchObject({ code: "AMBIGUOUS_CHECKPOINT" });
  expect(opening(folder).details.help).toContain("global_step10");
});
