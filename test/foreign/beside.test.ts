// What lies beside a model or stands for it, and is told: an adapter of PEFT, codes of a known family, scales that no config
// tells of.
import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { adapters } from "../../adapters/registry.ts";
import { openCheckpoint } from "../../src/model/open.ts";
import { inspectDocument } from "../../src/report/views/inspect.ts";
import { inspect } from "../../src/verify/inspect.ts";
import { readState, type State, writeDcp, writeSafetensors } from "../helpers/checkpoints.ts";
import { converted } from "../helpers/converted.ts";
import { FIXTURES, fixture } from "../helpers/fixtures.ts";
import { scratch } from "../helpers/scratch.ts";

const { hf } = fixture("llama3/split");
const config = join(hf, "config.json");
const LORA = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight";

/** An adapter, as peft names its files, beside what is in a folder. */
function withAdapter(folder: string, name = "adapter_model.safetensors"): string {
  const state: State = new Map([[LORA, { dtype: "F32", shape: [2, 54], bytes: new Uint8Array(2 * 54 * 4) }]]);
  const made = writeSafetensors(join(scratch(), "adapter"), state);
  renameSync(join(made, "model.safetensors"), join(folder, name));
  writeFileSync(join(folder, "adapter_config.json"), '{"peft_type": "LORA"}');
  return folder;
}

const inspected = (path: string) => {
  const checkpoint = openCheckpoint(path);
  try {
    return inspect(checkpoint, { adapters });
  } finally {
    checkpoint.close();
  }
};

const base = (): string => writeSafetensors(join(scratch(), "base"), readState(hf), { config });
const renamed = (name: string): string => {
  const folder = base();
  renameSync(join(folder, "model.safetensors"), join(folder, name));
  return folder;
};
const torchFile = async (): Promise<string> => {
  const file = join(scratch(), "model.pt");
  await converted(hf, file, { to: "raw", format: "pt" });
  const folder = base();
  renameSync(file, join(folder, "pytorch_model.bin"));
  renameSync(join(folder, "model.safetensors"), join(scratch(), "elsewhere"));
  return folder;
};

describe("an adapter of PEFT", () => {
  it.each([
    ["model.safetensors", base],
    ["a file of another name", () => renamed("mine.safetensors")],
    ["pytorch_model.bin", torchFile],
    ["DCP", () => writeDcp(join(scratch(), "dcp"), readState(hf), { config })],
  ])("beside %s is not taken for the base, and a note tells of it", async (_, make) => {
    const { family, problems, notes, tensors } = inspected(withAdapter(await make()));
    expect([family, problems, tensors.length]).toEqual(["llama3", [], 21]);
    expect(notes).toContain("a PEFT adapter lies beside: adapter_model.safetensors: it is not merged into this");
  });

  it("of torch's, too, and a conversion says so", async () => {
    const { notes } = await converted(withAdapter(base(), "adapter_model.bin"), join(scratch(), "out"));
    expect(notes).toContain("a PEFT adapter lies beside: adapter_model.bin: it is not merged into this");
  });

  it("alone is one", () => {
    const folder = renamed("../gone.safetensors");
    expect(inspected(withAdapter(folder)).problems.map(({ code }) => code)).toEqual(["PEFT_UNMERGED"]);
  });
});

it("the headline of a quantised model names the method and the family that the config names", () => {
  const state = readState(hf);
  const key = "model.layers.0.self_attn.q_proj";
  const weight = state.get(`${key}.weight`)!;
  state.delete(`${key}.weight`);
  state.set(`${key}.qweight`, { dtype: "I32", shape: weight.shape, bytes: weight.bytes });
  state.set(`${key}.g_idx`, { dtype: "I32", shape: [54], bytes: new Uint8Array(54 * 4) });
  const known = writeSafetensors(join(scratch(), "known"), state, { config });
  expect(inspectDocument(inspected(known)).headline).toBe(
    "safetensors, llama3 by its config, quantised by GPTQ, which is not read here: only --to raw can convert it",
  );
  const nobodys = writeSafetensors(join(scratch(), "nobodys"), state);
  expect(inspectDocument(inspected(nobodys)).headline).toBe(
    "safetensors, weights quantised by GPTQ, which is not read here: only --to raw can convert it",
  );
});

it("scales that no config tells of are told: transformers would take the codes for weights", async () => {
  const source = `${FIXTURES}deepseek_v3/fp8/hf`;
  const { quantization_config: declared, ...json } = JSON.parse(readFileSync(join(source, "config.json"), "utf8"));
  expect(declared.quant_method).toBe("fp8");
  const folder = writeSafetensors(join(scratch(), "fp8"), readState(source));
  writeFileSync(join(folder, "config.json"), JSON.stringify(json));
  const [problem, ...others] = inspected(folder).problems;
  expect(others).toEqual([]);
  expect(problem).toMatchObject({ code: "ENCODING_UNDECLARED", message: expect.stringContaining("stored as fp8") });
  const { notes } = await converted(folder, join(scratch(), "out"));
  expect(notes.join("\n")).toMatch(/has no quantization_config: .*; here they are decoded/);
});
