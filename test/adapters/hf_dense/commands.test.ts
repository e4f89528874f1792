// hf-dense through the command: what is amiss ends with exit 3 and the tensor's name, or in a report that lists it.
import { cpSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { run } from "../../cli/command.ts";
import { readState, type State, writeSafetensors } from "../../helpers/checkpoints.ts";
import { fixture } from "../../helpers/fixtures.ts";
import { scratch } from "../../helpers/scratch.ts";

const olmo2 = fixture("hf_dense/olmo2");
const gemma2 = fixture("hf_dense/gemma2-tied-bf16");
const llama = fixture("llama3/split");

const configOf = (folder: string) => `${folder}/config.json`;

/** Tensors of a checkpoint with something changed, as safetensors with their config. */
function edited(from: string, hf: string, edit: (state: State) => void): string {
  const state = readState(from);
  edit(state);
  return writeSafetensors(join(scratch(), "edited"), state, { config: configOf(hf) });
}

const up = "model.layers.1.mlp.up_proj.weight";

describe.each([
  ["hf", olmo2.hf, ""],
  ["native", olmo2.native, "model."],
])("from %s", (_, source, before) => {
  test.each([
    ["removed", "MISSING_TENSOR", (state: State) => state.delete(before + up)],
    ["added", "UNKNOWN_TENSOR", (state: State) => state.set(`${before}${up}s`, state.get(before + up)!)],
    ["misshapen", "SHAPE_MISMATCH", (state: State) => state.set(before + up, state.get(`${before}model.norm.weight`)!)],
  ])("a tensor %s", async (what, code, edit) => {
    const folder = edited(source, olmo2.hf, edit);
    const key = what === "added" ? `${before}${up}s` : before + up;
    const { code: exit, json } = await run(folder, join(scratch(), "target"), "--json");
    expect([exit, json.error.code, json.error.tensor]).toEqual([3, code, key]);
    const validation = await run("validate", folder, "--json");
    expect([validation.code, validation.json.verdict]).toEqual([1, "fail"]);
    expect(validation.json.differences.map((one: { key: string }) => one.key)).toContain(key);
  });
});

test("diff lists what one of two layouts lacks", async () => {
  const folder = edited(olmo2.hf, olmo2.hf, (state) => state.delete(up));
  const { code, json } = await run("diff", olmo2.native, folder, "--config-a", configOf(olmo2.hf), "--json");
  expect(code).toBe(1);
  expect(json.differences).toEqual([expect.objectContaining({ key: up, kind: "missing" })]);
});

test("a tie that is broken is found", async () => {
  const folder = edited(gemma2.native, gemma2.hf, (state) => {
    const { bytes, ...head } = state.get("model.lm_head.weight")!;
    state.set("model.lm_head.weight", { ...head, bytes: bytes.map((byte, i) => (i === 5 ? byte ^ 1 : byte)) });
  });
  const { code, json } = await run(folder, join(scratch(), "target"), "--json");
  expect([code, json.error.tensor]).toEqual([3, "model.lm_head.weight"]);
});

describe("weights that are not dense or plain", () => {
  test("experts are refused with the way out", async () => {
    const folder = edited(olmo2.hf, olmo2.hf, (state) => {
      for (const l of [0, 1, 2]) state.set(`model.layers.${l}.mlp.experts.0.up_proj.weight`, state.get(up)!);
    });
    const { code, json } = await run(folder, join(scratch(), "target"), "--json");
    expect([code, json.error.tensor]).toEqual([3, "model.layers.0.mlp.experts.0.up_proj.weight"]);
    expect(json.error.help).toContain("--adapter");
  });

  test.each([
    [{ num_local_experts: 8 }, "CONFIG_UNSUPPORTED"],
    [{ quantization_config: { quant_method: "gptq" } }, "ENCODING_ABSENT"],
  ])("%o", async (fields, code) => {
    const folder = join(scratch(), "model");
    cpSync(olmo2.hf, folder, { recursive: true });
    const config = JSON.parse(readFileSync(configOf(folder), "utf8"));
    writeFileSync(configOf(folder), JSON.stringify({ ...config, ...fields }));
    const { code: exit, json } = await run("plan", folder, "--json");
    expect([exit, json.error.code]).toEqual([3, code]);
  });
});

test("without its config such a checkpoint is of no known family, and the message asks for it", async () => {
  const { code, json } = await run(gemma2.native, join(scratch(), "target"), "--json");
  expect([code, json.error.code]).toEqual([3, "UNKNOWN_FAMILY"]);
  expect(json.error.help).toContain("--config");
});

test("a family with a table can be held as the backend holds it, at the user's word", async () => {
  const [native, back] = [join(scratch(), "native"), join(scratch(), "back")];
  expect((await run(llama.hf, native, "--family", "hf-dense", "--quiet")).code).toBe(0);
  expect([...readState(native).keys()].every((key) => key.startsWith("model."))).toBe(true);
  expect((await run(native, back, "--family", "hf-dense", "--quiet")).code).toBe(0);
  expect(readFileSync(`${back}/model.safetensors`)).toEqual(readFileSync(`${llama.hf}/model.safetensors`));
});
