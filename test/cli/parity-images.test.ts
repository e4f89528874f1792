import { cpSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { readState, type Stored, writeSafetensors } from "../helpers/checkpoints.ts";
import { FIXTURES } from "../helpers/fixtures.ts";
import { scratch } from "../helpers/scratch.ts";
import { run } from "./command.ts";

const images = (name: string) => join(FIXTURES, "images", name);
const native = join(FIXTURES, "qwen3_vl/tied/native");
const hf = join(FIXTURES, "qwen3_vl/tied/hf");
const TEXT = "what is on the left of these two pictures and which one is older describe it";
const TWO = ["--image", images("wide.png"), "--image", images("photo.jpg")];

const parity = (...args: string[]) =>
  run("parity", native, hf, "--config", hf, "--backend", "cpu", "--accept-known", "--json", ...args);

const joined = (dtype: Stored["dtype"], shape: readonly number[], parts: readonly Stored[]): Stored => ({
  dtype,
  shape,
  bytes: Buffer.concat(parts.map(({ bytes }) => bytes)),
});

/** What transformers' processor made of the chat about both images, as `--inputs` takes it. */
function recordedInputs(): string {
  const state = readState(images("qwen2_vl/expected.safetensors"));
  const [wide, photo] = [state.get("wide.pixel_values")!, state.get("photo.pixel_values")!];
  const grids = [state.get("wide.image_grid_thw")!, state.get("photo.image_grid_thw")!];
  const pixels = joined("F32", [wide.shape[0]! + photo.shape[0]!, wide.shape[1]!], [wide, photo]);
  const inputs = new Map([
    ["input_ids", state.get("chat_images.input_ids")!],
    ["pixel_values", pixels],
    ["image_grid_thw", joined("I64", [2, 3], grids)],
  ]);
  return join(writeSafetensors(join(scratch(), "inputs"), inputs), "model.safetensors");
}

describe("parity on images", () => {
  it("computes what it computes on transformers' own pixels and ids, to the last bit", async () => {
    const [ours, theirs] = [join(scratch(), "a.safetensors"), join(scratch(), "b.safetensors")];
    const chat = ["--tokenizer", images("qwen2_vl"), "--chat-template", "--prompt", TEXT, ...TWO];
    const { code, json } = await parity(...chat, "--save-logits", ours);
    expect(code).toBe(0);
    expect(json).toMatchObject({ inputs: { kind: "prompt", images: 2, source: TEXT }, unexercisedTensors: [] });
    expect((await parity("--inputs", recordedInputs(), "--save-logits", theirs)).code).toBe(0);
    expect(readState(ours)).toEqual(readState(theirs));
    const without = join(scratch(), "c.safetensors");
    await parity(...chat.slice(0, -2), "--save-logits", without);
    expect(readState(without).get("logits_a")).not.toEqual(readState(ours).get("logits_a"));
  });

  it("finds tokenizer, template and processor beside a checkpoint, and gives every prompt all images", async () => {
    const home = join(scratch(), "model");
    cpSync(hf, home, { recursive: true });
    cpSync(images("qwen2_vl"), home, { recursive: true });
    const prompts = ["--prompt", "what is older", "--prompt", "describe it"];
    const args = ["--backend", "cpu", "--accept-known", "--json", "--chat-template"];
    const { code, json } = await run("parity", native, home, "--config", home, ...args, ...prompts, ...TWO);
    expect(code).toBe(0);
    expect(json.inputs).toMatchObject({ images: 4, prompts: [{ images: 2 }, { images: 2 }] });
  });
});

describe("unacceptable images exit 3", () => {
  const broken = () => {
    const file = join(scratch(), "broken.png");
    writeFileSync(file, "no image");
    return file;
  };
  const alone = () => {
    const file = join(scratch(), "tokenizer.json");
    cpSync(images("qwen2_vl/tokenizer.json"), file);
    return file;
  };
  const chat = ["--chat-template", "--prompt", "what", "--tokenizer", images("qwen2_vl")];

  it.each<[string, () => string[], string]>([
    ["no image", () => [...chat, "--image", broken()], "IMAGE_INVALID"],
    ["a missing file", () => [...chat, "--image", "none.jpg"], "IMAGE_INVALID"],
    ["no placeholder", () => ["--prompt", "what", "--tokenizer", images("qwen2_vl"), ...TWO], "IMAGE_PLACEHOLDERS"],
    ["no processor", () => ["--prompt", "<|image_pad|>", "--tokenizer", alone(), ...TWO.slice(2)], "PROCESSOR_MISSING"],
    [
      "no chat template",
      () => ["--chat-template", "--prompt", "what", "--tokenizer", join(FIXTURES, "demo/hf"), ...TWO],
      "CHAT_TEMPLATE_MISSING",
    ],
  ])("%s", async (_, args, expected) => {
    const { code, json, stderr } = await parity(...args());
    expect(code).toBe(3);
    expect(json.error).toMatchObject({ code: expected, help: expect.stringMatching(/./) });
    expect(stderr).toMatch(/^error\[[A-Z_]+\]: [\s\S]*^help: /m);
  });

  it("for a model of text", async () => {
    const demo = join(FIXTURES, "demo/hf");
    const args = ["--backend", "cpu", "--json", "--prompt", "free", "--image", images("wide.png")];
    const { code, json } = await run("parity", join(FIXTURES, "demo/native"), demo, "--config", demo, ...args);
    expect(code).toBe(3);
    expect(json.error).toMatchObject({ code: "INPUT_NOT_SUPPORTED", found: "--image" });
  });
});

describe("--image without a prompt exits 2", () => {
  it.each([
    ["alone", []],
    ["with ids", ["--ids", "a.json"]],
    ["with inputs", ["--inputs", "a.safetensors"]],
  ])("%s", async (_, args) => {
    const { code, json } = await parity("--image", images("wide.png"), ...args);
    expect(code).toBe(2);
    expect(json.error).toMatchObject({ code: "IMAGE_USAGE", help: expect.stringContaining("--prompt") });
  });
});
