// Images against what transformers' own processors made of the same files (fixtures/generate/images.py).
import { copyFileSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { qwen2VlImageProcessor } from "../../../adapters/common/qwen-image-processor.ts";
import { kimiImageProcessor } from "../../../adapters/kimi_k2_7/processor.ts";
import { museImageProcessor } from "../../../adapters/muse_glimmer/processor.ts";
import { DiskFolder } from "../../../src/formats/io/disk-folder.ts";
import { openSafetensors } from "../../../src/formats/safetensors/open.ts";
import { imagePatches } from "../../../src/parity/images/patches.ts";
import { readSteps } from "../../../src/parity/images/steps.ts";
import { type PromptRequest, resolvePrompt } from "../../../src/parity/inputs/prompt.ts";
import type { InputLimits } from "../../../src/parity/inputs/resolved.ts";
import { readIntegers } from "../../../src/parity/inputs/tensors.ts";
import { FIXTURES } from "../../helpers/fixtures.ts";

const IMAGES = `${FIXTURES}images/`;
const FILES = ["wide.png", "photo.jpg", "turned.jpg", "grey.png", "alpha.png", "palette.png", "tiny.jpg"];
const OF = new Map([
  ["qwen2_vl", qwen2VlImageProcessor],
  ["qwen2_vl_sizes", qwen2VlImageProcessor],
  ["kimi_k25", kimiImageProcessor],
  ["muse_glimmer", museImageProcessor],
]);
const PROCESSORS = [...OF.keys()];
const TEXT = "what is on the left of these two pictures and which one is older describe it";

const folder = mkdtempSync(join(tmpdir(), "input-images-"));
afterAll(() => rmSync(folder, { recursive: true }));

function recorded(processor: string, file: string) {
  const expected = openSafetensors(`${IMAGES}${processor}/expected.safetensors`);
  const [stem] = file.split(".");
  const { shape } = expected.tensors.get(`${stem}.pixel_values`)!;
  const pixels = new Float32Array(shape[0]! * shape[1]!);
  expected.read(`${stem}.pixel_values`, 0, new Uint8Array(pixels.buffer));
  const grid = readIntegers(expected, `${stem}.image_grid_thw`, [[1, 3]]);
  expected.close();
  return { pixels, patches: shape[0]!, patchDim: shape[1]!, grids: [grid] };
}

function recordedIds(processor: string, name: string): number[] {
  const expected = openSafetensors(`${IMAGES}${processor}/expected.safetensors`);
  const ids = readIntegers(expected, `${name}.input_ids`);
  expected.close();
  return ids;
}

const largestDifference = (a: Float32Array, b: Float32Array): number =>
  a.reduce((most, x, i) => Math.max(most, Math.abs(x - b[i]!)), 0);

describe.each(PROCESSORS)("%s", (name) => {
  const configured = readSteps([new DiskFolder(IMAGES + name)], OF.get(name)!);

  test.each(FILES)("%s: grid and pixels are those of transformers, bit for bit", async (file) => {
    const { pixels, ...layout } = await imagePatches([IMAGES + file], configured);
    const { pixels: expected, ...expectedLayout } = recorded(name, file);
    expect(layout).toEqual(expectedLayout);
    expect(largestDifference(pixels, expected)).toBe(0);
  });
});

test("another resampling, or a mean that is off by a thousandth, shows", async () => {
  const { file, steps } = readSteps([new DiskFolder(`${IMAGES}qwen2_vl`)], qwen2VlImageProcessor);
  const off = { ...steps, normalise: { mean: [0.501, 0.5, 0.5], std: [0.5, 0.5, 0.5] } as const };
  const expected = recorded("qwen2_vl", "photo.jpg").pixels;
  const blurred = { ...steps, resize: { ...steps.resize!, filter: "bilinear" } } as const;
  for (const wrong of [blurred, off]) {
    const { pixels } = await imagePatches([`${IMAGES}photo.jpg`], { file, steps: wrong });
    expect(largestDifference(pixels, expected)).toBeGreaterThan(1e-3);
  }
});

/** A model that takes what the processor makes. */
function limitsFor(name: string): InputLimits {
  const { patchDim } = recorded(name, "tiny.jpg");
  const vision = { patchDim, mergeSize: 2, imageToken: 7, around: null, reserved: [7, 8], processor: OF.get(name)! };
  return { vocabSize: 127, maxPositions: 4096, vision };
}

const ask = (name: string, request: Partial<PromptRequest>, limits = limitsFor(name)) =>
  resolvePrompt({ kind: "prompt", text: TEXT, tokenizer: IMAGES + name, ...request }, limits);

const TWO = ["wide.png", "photo.jpg"].map((file) => IMAGES + file);

describe.each(PROCESSORS)("ids of a prompt, %s", (name) => {
  test("are those of transformers: a text, a chat, a chat about two images", async () => {
    expect((await ask(name, {})).input.ids_T).toEqual(recordedIds(name, "text"));
    expect((await ask(name, { chat: true })).input.ids_T).toEqual(recordedIds(name, "chat"));
    const { input, about } = await ask(name, { chat: true, images: TWO });
    expect(input.ids_T).toEqual(recordedIds(name, "chat_images"));
    expect(input.images?.grids).toEqual(["wide.png", "photo.jpg"].map((file) => recorded(name, file).grids[0]));
    expect(about).toMatchObject({ kind: "prompt", tokens: input.ids_T.length, images: 2 });
  });

  test("a placeholder in the text is as good as a template's", async () => {
    const [mark] = PLACEHOLDERS.get(name)!;
    const { input } = await ask(name, { text: `left ${mark} right`, images: [TWO[1]!] });
    const [, h, w] = recorded(name, "photo.jpg").grids[0]!;
    expect(input.ids_T.filter((id) => id === 7)).toHaveLength((h! * w!) / 4);
    const surrounded = name === "muse_glimmer" ? [9, 7] : [input.ids_T[1], 7];
    expect(input.ids_T.slice(input.ids_T.indexOf(7) - 1, input.ids_T.indexOf(7) + 1)).toEqual(surrounded);
  });
});

const PLACEHOLDERS = new Map([
  ["qwen2_vl", ["<|image_pad|>"]],
  ["qwen2_vl_sizes", ["<|image_pad|>"]],
  ["kimi_k25", ["<|media_pad|>"]],
  ["muse_glimmer", ["<|patch|>"]],
]);

describe("refused:", () => {
  /** The Qwen processor's directory with another preprocessor_config.json, or with none. */
  function home(processor: unknown): string {
    const directory = mkdtempSync(join(folder, "home-"));
    const names = readdirSync(`${IMAGES}qwen2_vl`).filter((file) => file !== "preprocessor_config.json");
    for (const file of names) copyFileSync(`${IMAGES}qwen2_vl/${file}`, join(directory, file));
    if (processor !== undefined) writeFileSync(join(directory, "preprocessor_config.json"), JSON.stringify(processor));
    return directory;
  }

  const qwen = { image_processor_type: "Qwen2VLImageProcessor", patch_size: 4 };
  const broken = (name: string, bytes: string): string => {
    writeFileSync(join(folder, name), bytes);
    return join(folder, name);
  };

  test.each<[string, Partial<PromptRequest>, string, string]>([
    ["a file that is not there", { images: [`${folder}/none.png`] }, "IMAGE_INVALID", "none.png"],
    ["a file that is no image", { images: [broken("text.png", "not an image")] }, "IMAGE_INVALID", "text.png"],
    ["an image of another format", { images: [broken("a.svg", SVG)] }, "IMAGE_UNSUPPORTED", "svg"],
    ["a photo in CMYK", { images: [`${IMAGES}cmyk.jpg`] }, "IMAGE_UNSUPPORTED", "CMYK"],
    ["a PNG of 16 bits", { images: [`${IMAGES}deep.png`] }, "IMAGE_UNSUPPORTED", "16 bits"],
    ["no placeholder for an image", { chat: false, images: [TWO[0]!] }, "IMAGE_PLACEHOLDERS", "<|image_pad|>"],
    [
      "a placeholder too many",
      { text: "what <|image_pad|>", images: [TWO[0]!] },
      "IMAGE_PLACEHOLDERS",
      "(<|image_pad|>) in the prompt: 2, images given: 1",
    ],
    ["a placeholder without an image", { chat: false, text: "what <|image_pad|>" }, "IMAGE_PLACEHOLDERS", "given: 0"],
    ["no processor", { tokenizer: home(undefined), images: TWO }, "PROCESSOR_MISSING", "preprocessor_config.json"],
    [
      "an unknown processor",
      { tokenizer: home({ image_processor_type: "CLIPImageProcessor" }), images: TWO },
      "PROCESSOR_UNKNOWN",
      "CLIPImageProcessor",
    ],
    ["a processor of no kind", { tokenizer: home({}), images: TWO }, "PROCESSOR_UNKNOWN", "no image_processor_type"],
    ["a processor that is a list", { tokenizer: home([]), images: TWO }, "PROCESSOR_INVALID", "not a JSON object"],
    [
      "a field of another type",
      { tokenizer: home({ ...qwen, size: { shortest_edge: "small" } }), images: TWO },
      "PROCESSOR_INVALID",
      '"size.shortest_edge" is "small"',
    ],
    [
      "resampling that is not known",
      { tokenizer: home({ ...qwen, resample: 5 }), images: TWO },
      "PROCESSOR_INVALID",
      '"resample" is 5',
    ],
    [
      "a deviation of 0",
      { tokenizer: home({ ...qwen, image_std: [1, 0, 1] }), images: TWO },
      "PROCESSOR_INVALID",
      "image_std",
    ],
    [
      "patches that the model does not take",
      { tokenizer: home({ ...qwen, patch_size: 14 }), images: TWO },
      "PROCESSOR_MISMATCH",
      "other patches",
    ],
    [
      "an image that is not resized and cannot be cut",
      { tokenizer: home({ ...qwen, do_resize: false }), images: TWO },
      "IMAGE_SIZE",
      "61 × 43",
    ],
  ])("%s", async (_, request, code, text) => {
    const failure = await ask("qwen2_vl", { chat: true, ...request }).catch((error: unknown) => error);
    expect(failure).toMatchObject({ code, exitCode: 3, details: { help: expect.any(String) } });
    expect(String(failure)).toContain(text);
  });

  test("an image over 200 times as wide as high", async () => {
    const { default: sharp } = await import("sharp");
    const file = join(folder, "line.png");
    await sharp({ create: { width: 402, height: 2, channels: 3, background: "red" } }).toFile(file);
    await expect(ask("qwen2_vl", { chat: true, images: [file] })).rejects.toMatchObject({ code: "IMAGE_SIZE" });
  });

  test("an image for a model of text", async () => {
    const limits = { vocabSize: 127, maxPositions: 4096 };
    await expect(ask("qwen2_vl", { chat: true, images: TWO }, limits)).rejects.toMatchObject({
      code: "INPUT_NOT_SUPPORTED",
      exitCode: 3,
    });
  });
});

const SVG = '<svg xmlns="http://www.w3.org/2000/svg" width="8" height="8"><rect width="8" height="8"/></svg>';

describe("preprocessor_config.json", () => {
  const read = (files: Readonly<Record<string, object>>) => {
    const directory = mkdtempSync(join(folder, "processor-"));
    for (const [name, json] of Object.entries(files)) writeFileSync(join(directory, name), JSON.stringify(json));
    return readSteps([new DiskFolder(join(folder, "nowhere")), new DiskFolder(directory)], qwen2VlImageProcessor);
  };
  const type = { image_processor_type: "Qwen2VLImageProcessor" };

  test("in a processor's own file goes before one beside it", () => {
    const files = {
      "preprocessor_config.json": { ...type, patch_size: 16 },
      "processor_config.json": { image_processor: { ...type, patch_size: 20 } },
    };
    expect(read(files).steps).toMatchObject({ patchSize: 20 });
    expect(read({ ...files, "processor_config.json": {} }).steps).toMatchObject({ patchSize: 16 });
  });

  test("min_pixels and max_pixels go before size", () => {
    const size = { shortest_edge: 100, longest_edge: 400 };
    const one = { ...type, patch_size: 1, merge_size: 1 };
    /** Edges that squares of one pixel and of 5,000 by 5,000 get. */
    const limits = (json: object) => {
      const { steps } = read({ "preprocessor_config.json": { ...one, ...json } });
      return [1, 5000].map(
        (edge) => steps.resize!.sizeOf({ height: edge, width: edge }, "square.png").resized.height ** 2,
      );
    };
    expect(limits({ size })).toEqual([100, 400]);
    expect(limits({ size, min_pixels: 49 })).toEqual([49, 400]);
    expect(limits({ size, max_pixels: 900 })).toEqual([100, 900]);
    expect(limits({})).toEqual([3136, 1001 ** 2]);
  });

  test("what it does not do stays undone", async () => {
    const plain = read({
      "preprocessor_config.json": { ...type, patch_size: 10, do_rescale: false, do_normalize: false },
    });
    const { pixels } = await imagePatches([`${IMAGES}grey.png`], plain);
    expect(pixels.every((x) => Number.isInteger(x) && x >= 0 && x <= 255)).toBe(true);
    expect(new Set(pixels).size).toBeGreaterThan(100);
  });
});
