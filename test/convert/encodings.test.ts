// FP8 and MXFP4 files of upstream: decoded into native targets, encoded again on the way back.
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { adapters } from "../../adapters/registry.ts";
import { fp8Blocks } from "../../src/encodings/fp8.ts";
import { RECORD_NAME } from "../../src/formats/file-names.ts";
import { SCALES_NAME } from "../../src/formats/safetensors/locate.ts";
import { openModel } from "../../src/model/model.ts";
import { openCheckpoint } from "../../src/model/open.ts";
import { diff } from "../../src/verify/diff.ts";
import { inspect } from "../../src/verify/inspect.ts";
import { roundtrip } from "../../src/verify/roundtrip.ts";
import { validate } from "../../src/verify/validate.ts";
import { cast } from "../../src/views/cast.ts";
import { readState, writeSafetensors } from "../helpers/checkpoints.ts";
import { converted, hashes, sorted } from "../helpers/converted.ts";
import { encodedCases, FIXTURES } from "../helpers/fixtures.ts";
import { scratch } from "../helpers/scratch.ts";

const weightFiles = (folder: string) => readdirSync(folder).filter((name) => /\.safetensors$|index\.json$/.test(name));

describe.each(encodedCases.map((entry) => [entry.name, entry] as const))("%s", (_, entry) => {
  // Each test goes on from the native target that the first one writes.
  const home = mkdtempSync(join(tmpdir(), "encodings-"));
  afterAll(() => rmSync(home, { recursive: true }));
  const native = join(home, "native");
  const options = { adapters };

  test("decodes to what upstream's own readers give, and keeps the scales", async () => {
    await converted(entry.hf, native);
    const found = hashes(native);
    // A buffer that torchtitan asks for and its own adapter does not give.
    for (const key of found.keys()) if (/expert_bias_E$/.test(key) && !entry.fromHf.has(key)) found.delete(key);
    expect(sorted(found)).toEqual(sorted(entry.fromHf));
    const scales = [...openCheckpoint(join(native, SCALES_NAME)).tensors.keys()];
    expect(scales.length).toBeGreaterThan(0);
    expect(scales.every((key) => /_scale_inv$|_scales$/.test(key))).toBe(true);
  });

  test("comes back byte for byte, config included", async () => {
    const back = join(home, "back");
    const { notes } = await converted(native, back);
    expect(weightFiles(back)).toEqual(weightFiles(entry.hf));
    for (const name of [...weightFiles(entry.hf), "config.json"]) {
      expect(readFileSync(join(back, name)).equals(readFileSync(join(entry.hf, name))), name).toBe(true);
    }
    expect(notes.join("\n")).toMatch(/\d+ groups have the scales they had, 0 the canonical ones/);
  });

  test("without the record scales are canonical, which is said; values change by at most a step", async () => {
    const bare = join(home, "bare");
    cpSync(native, bare, { recursive: true });
    for (const name of [RECORD_NAME, SCALES_NAME]) rmSync(join(bare, name));
    const [target, again] = [join(home, "canonical"), join(home, "again")];
    const { notes } = await converted(bare, target);
    expect(notes.join("\n")).toMatch(/0 groups have the scales they had/);
    expect([...hashes(target).keys()].sort()).toEqual([...hashes(entry.hf).keys()].sort());
    // Canonical codes are a fixed point: decoded and encoded anew, they stay.
    await converted(target, join(home, "native-2"));
    for (const name of [RECORD_NAME, SCALES_NAME]) rmSync(join(home, "native-2", name));
    await converted(join(home, "native-2"), again);
    expect(sorted(hashes(again))).toEqual(sorted(hashes(target)));
  });

  test("plain where asked for: no codes, and no quantization_config", async () => {
    const plain = join(home, "plain");
    await converted(native, plain, { encoding: "none" });
    expect(JSON.parse(readFileSync(join(plain, "config.json"), "utf8")).quantization_config).toBeUndefined();
    const dtypes = new Set([...hashes(plain).values()].map(({ dtype }) => dtype));
    expect(dtypes.has("F8_E4M3") || dtypes.has("U8")).toBe(false);
    const [a, b] = [openCheckpoint(plain), openCheckpoint(entry.hf)];
    expect(await diff(a, b, { a: options, b: options })).toMatchObject({ verdict: "pass" });
  });

  test("plain from one Hugging Face folder to another: dims as plain files have them", async () => {
    const plain = join(home, "plain-hf");
    await converted(entry.hf, plain, { to: "hf", encoding: "none" });
    const [a, b] = [openCheckpoint(plain), openCheckpoint(native)];
    expect((await validate(openModel(a, options))).differences).toEqual([]);
    expect(await diff(a, b, { a: options, b: options })).toMatchObject({ verdict: "pass" });
  });

  test("diff, roundtrip and inspect see one model", async () => {
    const [a, b] = [openCheckpoint(entry.hf), openCheckpoint(native)];
    expect(await diff(a, b, { a: options, b: options })).toMatchObject({ verdict: "pass", differences: [] });
    const trip = await roundtrip(openModel(a, options));
    expect(trip).toMatchObject({ verdict: "pass", tensors: a.tensors.size });
    expect(trip.files.every(({ same }) => same)).toBe(true);
    expect(inspect(a, options)).toMatchObject({ family: entry.family, layout: "hf", problems: [] });
  });
});

describe("faults in scales", () => {
  const stateOf = () => readState(`${FIXTURES}deepseek_v3/fp8/hf`);
  const scale = "model.layers.0.mlp.gate_proj.weight_scale_inv";
  const weight = "model.layers.0.mlp.gate_proj.weight";
  const convert = (state: ReturnType<typeof stateOf>, change: object = {}) => {
    const folder = writeSafetensors(join(scratch(), "model"), state);
    const json = JSON.parse(readFileSync(`${FIXTURES}deepseek_v3/fp8/hf/config.json`, "utf8"));
    writeFileSync(join(folder, "config.json"), JSON.stringify({ ...json, ...change }));
    return converted(folder, join(scratch(), "native"));
  };

  test("one that is missing, or under another name", async () => {
    const state = stateOf();
    const entry = state.get(scale)!;
    state.delete(scale);
    await expect(convert(state)).rejects.toMatchObject({
      code: "SCALE_MISSING",
      details: { tensor: weight, expected: `"${scale}"` },
    });
    state.set(scale.replace("_scale_inv", "_scale"), entry);
    await expect(convert(state)).rejects.toMatchObject({
      code: "QUANTISED_UNSUPPORTED",
      details: { tensor: scale.replace("_scale_inv", "_scale") },
    });
  });

  test("one without a weight", async () => {
    const state = stateOf();
    state.set("model.norm.weight_scale_inv", state.get(scale)!);
    await expect(convert(state)).rejects.toMatchObject({
      code: "SCALE_WITHOUT_WEIGHT",
      details: { tensor: "model.norm.weight_scale_inv" },
    });
  });

  test("blocks of another size than the config says", async () => {
    const quantization_config = { quant_method: "fp8", weight_block_size: [64, 64] };
    await expect(convert(stateOf(), { quantization_config })).rejects.toMatchObject({ code: "SCALE_SHAPE" });
    const perTensor = { quant_method: "fp8", weight_block_size: null };
    await expect(
      convert(stateOf(), { quantization_config: { ...perTensor, weight_block_size: 128 } }),
    ).rejects.toMatchObject({ code: "BLOCK_SIZE_INVALID" });
  });

  test("another method is refused by name", async () => {
    await expect(convert(stateOf(), { quantization_config: { quant_method: "gptq" } })).rejects.toMatchObject({
      code: "QUANTISED_UNSUPPORTED",
      details: { found: expect.stringContaining("gptq") },
    });
  });
});

test("a weight that was trained on gets a canonical scale, the others theirs", async () => {
  const home = scratch();
  const native = join(home, "native");
  await converted(`${FIXTURES}deepseek_v3/fp8/hf`, native, { format: "safetensors" });
  const state = readState(native);
  const key = "layers.0.feed_forward.w1.weight";
  const floats = new Float32Array(state.get(key)!.bytes.slice().buffer);
  floats[0] = 50;
  state.set(key, { ...state.get(key)!, bytes: new Uint8Array(floats.buffer) });
  const trained = writeSafetensors(join(home, "trained"), state);
  for (const name of ["config.json", RECORD_NAME, SCALES_NAME]) cpSync(join(native, name), join(trained, name));
  const { notes } = await converted(trained, join(home, "back"));
  expect(notes.join("\n")).toMatch(/, 1 the canonical ones/);
  const [before, after] = [hashes(`${FIXTURES}deepseek_v3/fp8/hf`), hashes(join(home, "back"))];
  const changed = [...before].filter(([name, hash]) => after.get(name)?.sha256 !== hash.sha256).map(([name]) => name);
  expect(changed.sort()).toEqual([
    "model.layers.0.mlp.gate_proj.weight",
    "model.layers.0.mlp.gate_proj.weight_scale_inv",
  ]);
});

describe("decoded to another type than the config declares", () => {
  const weight = "model.layers.0.mlp.gate_proj.weight";
  const native = "layers.0.feed_forward.w1.weight";
  const state = readState(`${FIXTURES}deepseek_v3/fp8/hf`);
  const floats = ({ bytes }: { readonly bytes: Uint8Array }) => new Float32Array(bytes.slice().buffer);
  const [out, width] = state.get(weight)!.shape as [number, number];
  const scales = floats(state.get(`${weight}_scale_inv`)!);
  /** A code has 4 bits, a scale 24: f32 rounds their product once. */
  const products = Float32Array.from(state.get(weight)!.bytes, (code, i) => {
    const [row, column] = [Math.floor(i / width / 128), Math.floor((i % width) / 128)];
    return fp8Blocks([128, 128]).value(code, 1) * scales[row * Math.ceil(width / 128) + column]!;
  });
  function declared(dtype: string): string {
    const folder = join(scratch(), "model");
    cpSync(`${FIXTURES}deepseek_v3/fp8/hf`, folder, { recursive: true });
    const json = JSON.parse(readFileSync(join(folder, "config.json"), "utf8"));
    writeFileSync(join(folder, "config.json"), JSON.stringify({ ...json, dtype }));
    return folder;
  }

  test("in f32 they are the products of codes and scales, and encode to what they were", async () => {
    expect(products).toHaveLength(out * width);
    const [home, source] = [scratch(), declared("bfloat16")];
    const { casts } = await converted(source, join(home, "f32"), { dtype: ["f32"] });
    expect(floats(readState(join(home, "f32")).get(native)!)).toEqual(products);
    expect(casts.find(({ key }) => key === native)).toBeUndefined();
    const { notes } = await converted(join(home, "f32"), join(home, "back"));
    expect(notes.join("\n")).toMatch(/ 0 the canonical ones/);
    for (const name of [weight, `${weight}_scale_inv`])
      expect(hashes(join(home, "back")).get(name)).toEqual(hashes(source).get(name));
    // Through bf16 they would be others.
    await converted(source, join(home, "bf16"));
    await converted(join(home, "bf16"), join(home, "wide"), { to: "torchtitan", dtype: ["f32"] });
    expect(floats(readState(join(home, "wide")).get(native)!)).not.toEqual(products);
  });

  test("in f16 they are rounded once, and what a glob leaves out is as declared", async () => {
    const home = scratch();
    const { casts } = await converted(declared("bfloat16"), join(home, "f16"), { dtype: ["*.w1.weight=f16"] });
    const state = readState(join(home, "f16"));
    expect(state.get(native)).toMatchObject({ dtype: "F16" });
    expect(state.get(native)!.bytes).toEqual(cast(new Uint8Array(products.buffer), "F32", "F16"));
    expect(state.get(native.replace("w1", "w3"))).toMatchObject({ dtype: "BF16" });
    expect(casts.find(({ key }) => key === native)).toMatchObject({ from: "F32", to: "F16" });
  });
});

test("--encoding for a native target, or an unknown one, is wrong usage", async () => {
  const from = `${FIXTURES}deepseek_v3/fp8/hf`;
  await expect(converted(from, join(scratch(), "x"), { encoding: "fp8" })).rejects.toMatchObject({
    code: "ENCODING_NOT_HF",
    exitCode: 2,
  });
  await expect(converted(from, join(scratch(), "x"), { encoding: "int3" })).rejects.toMatchObject({
    code: "ENCODING_UNKNOWN",
    exitCode: 2,
  });
});

test("a plain model is written as FP8 where asked for, with the config to say so", async () => {
  const home = scratch();
  await converted(`${FIXTURES}deepseek_v3/noqlora-bf16/native`, join(home, "hf"), {
    encoding: "fp8",
    config: `${FIXTURES}deepseek_v3/noqlora-bf16/hf`,
  });
  const config = JSON.parse(readFileSync(join(home, "hf/config.json"), "utf8"));
  expect(config.quantization_config).toMatchObject({ quant_method: "fp8", weight_block_size: [128, 128] });
  const written = hashes(join(home, "hf"));
  expect(written.get("model.layers.0.self_attn.q_proj.weight")?.dtype).toBe("F8_E4M3");
  expect(written.get("model.layers.1.mlp.gate.weight")?.dtype).not.toBe("F8_E4M3");
  const trip = await roundtrip(openModel(openCheckpoint(join(home, "hf")), { adapters }));
  expect(trip.verdict).toBe("pass");
});
