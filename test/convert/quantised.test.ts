// Quantised files that are not decoded here: refused by name.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { adapters } from "../../adapters/registry.ts";
import { openModel } from "../../src/model/model.ts";
import { openCheckpoint } from "../../src/model/open.ts";
import { roundtrip } from "../../src/verify/roundtrip.ts";
import { readState, writeSafetensors } from "../helpers/checkpoints.ts";
import { converted } from "../helpers/converted.ts";
import { FIXTURES, fixture } from "../helpers/fixtures.ts";
import { scratch } from "../helpers/scratch.ts";

test("experts that Kimi K2.5 packs into int4 are refused, with its config's word for it and without", async () => {
  const source = `${FIXTURES}kimi_k2_7/images/hf`;
  const json = JSON.parse(readFileSync(join(source, "config.json"), "utf8"));
  const expert = "language_model.model.layers.1.mlp.experts.0.gate_proj.weight";
  const state = readState(source);
  state.delete(expert);
  state.set(`${expert}_packed`, { dtype: "I32", shape: [14, 5], bytes: new Uint8Array(14 * 5 * 4) });
  state.set(`${expert}_scale`, { dtype: "BF16", shape: [14, 2], bytes: new Uint8Array(14 * 2 * 2) });
  state.set(`${expert}_shape`, { dtype: "I32", shape: [2], bytes: new Uint8Array(8) });
  const packed = writeSafetensors(join(scratch(), "packed"), state);
  const quantization_config = { quant_method: "compressed-tensors", format: "pack-quantized" };

  const convert = (config: unknown) => {
    writeFileSync(join(packed, "config.json"), JSON.stringify(config));
    return converted(packed, join(scratch(), "native"));
  };
  await expect(convert({ ...json, text_config: { ...json.text_config, quantization_config } })).rejects.toMatchObject({
    code: "QUANTISED_UNSUPPORTED",
    details: { found: expect.stringContaining("pack-quantized"), help: expect.stringContaining("unquantised") },
  });
  await expect(convert(json)).rejects.toMatchObject({
    code: "QUANTISED_UNSUPPORTED",
    message: expect.stringContaining("compressed-tensors"),
    details: { tensor: `${expert}_packed`, help: expect.stringContaining("unquantised") },
  });
});

test("weights of integers are no plain weights, whatever is let go and whatever is cast; raw takes them", async () => {
  const { hf: source } = fixture("llama3/split");
  const state = readState(source);
  const [key, scale] = ["model.layers.1.mlp.up_proj.weight", "model.layers.1.mlp.up_proj.of_mine"];
  state.set(key, { dtype: "I8", shape: [75, 54], bytes: new Uint8Array(75 * 54).fill(7) });
  state.set(scale, { dtype: "F32", shape: [75], bytes: new Uint8Array(75 * 4) });
  const codes = writeSafetensors(join(scratch(), "codes"), state, { config: join(source, "config.json") });
  for (const options of [
    { allowDrop: ["*.of_mine"] },
    { allowDrop: ["*.of_mine"], dtype: ["bf16"] },
    { to: "hf", allowDrop: ["*.of_mine"] },
  ]) {
    await expect(converted(codes, join(scratch(), "target"), options)).rejects.toMatchObject({
      code: "WEIGHT_NOT_FLOAT",
      details: { tensor: key, found: "I8" },
    });
  }
  await converted(codes, join(scratch(), "raw.pt"), { to: "raw" });
  await expect(roundtrip(openModel(openCheckpoint(codes), { adapters }))).rejects.toMatchObject({ exitCode: 3 });
});
