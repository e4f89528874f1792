import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { randomIds } from "../../../src/parity/inputs/random.ts";
import { resolveInputs } from "../../../src/parity/inputs/read.ts";

const folder = mkdtempSync(join(tmpdir(), "parity-inputs-"));
afterAll(() => rmSync(folder, { recursive: true }));
const limits = { vocabSize: 1000, maxPositions: 4096 };

function file(name: string, content: string | Uint8Array): string {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
}

/** A safetensors file of int64 tensors. */
function int64File(name: string, tensors: Readonly<Record<string, readonly number[]>>): string {
  let end = 0;
  const entries = Object.entries(tensors).map(([key, values]) => {
    const begin = end;
    end += values.length * 8;
    return `"${key}":{"dtype":"I64","shape":[${values.length}],"data_offsets":[${begin},${end}]}`;
  });
  const text = `{${entries.join(",")}}`;
  const header = text.padEnd(text.length + (-text.length & 7));
  const length = new Uint8Array(BigUint64Array.of(BigInt(header.length)).buffer);
  const data = Object.values(tensors).map((values) => new Uint8Array(BigInt64Array.from(values, BigInt).buffer));
  return file(name, Buffer.concat([length, Buffer.from(header), ...data]));
}

describe("random ids", () => {
  const ids = randomIds(512, 1000, 7);

  test("hold both edges of the vocabulary, a run of one token, and a passage that comes again", () => {
    expect(ids).toHaveLength(512);
    expect(ids.slice(0, 2)).toEqual([0, 999]);
    expect(new Set(ids.slice(64, 96)).size).toBe(1);
    expect(ids.slice(448)).toEqual(ids.slice(0, 64));
    expect(ids.every((id) => Number.isInteger(id) && id >= 0 && id < 1000)).toBe(true);
    expect(new Set(ids).size).toBeGreaterThan(250);
  });

  test("follow the seed", () => {
    expect(randomIds(512, 1000, 7)).toEqual(ids);
    expect(randomIds(512, 1000, 8)).not.toEqual(ids);
  });

  test.each([
    [{ vocabSize: 1, maxPositions: 600 }, 512],
    [{ vocabSize: 2, maxPositions: 3 }, 3],
    [{ vocabSize: 9, maxPositions: 1 }, 1],
  ])("%j", async (small, tokens) => {
    const resolved = await resolveInputs({ kind: "random" }, small);
    expect(resolved.input.ids_T).toHaveLength(tokens);
    expect(resolved.input.ids_T.every((id) => id >= 0 && id < small.vocabSize)).toBe(true);
  });

  test.each([
    [undefined, 4096, 512, undefined],
    [700, 4096, 700, undefined],
    [64, 4096, 512, "generated input has at least 512 tokens"],
    [undefined, 128, 128, "the model's context is 128 tokens"],
    [900, 600, 600, "the model's context is 600 tokens"],
    [64, 100, 100, "the model's context is 100 tokens"],
  ])("%s asked for, context %i: %i", async (asked, maxPositions, tokens, note) => {
    const request = { kind: "random", ...(asked === undefined ? {} : { tokens: asked }) } as const;
    const { about } = await resolveInputs(request, { vocabSize: 10, maxPositions });
    expect(about).toEqual({ kind: "random", tokens, seed: 0, ...(note === undefined ? {} : { note }) });
  });
});

describe("ids from JSON", () => {
  test("are used whole, however few", async () => {
    const path = file("ids.json", "[3, 1, 4]");
    expect(await resolveInputs({ kind: "ids", file: path }, limits)).toEqual({
      input: { ids_T: [3, 1, 4] },
      about: { kind: "ids", tokens: 3, source: path },
    });
  });

  test.each([
    ["[]", "an empty array"],
    ["{}", "object"],
    ["null", "null"],
    ["[1, -2]", "-2 at index 1"],
    ["[1.5]", "1.5 at index 0"],
    ['[1, "2"]', '"2" at index 1'],
    ["[[1]]", "[1] at index 0"],
  ])("%s is refused", async (text, found) => {
    const path = file("bad.json", text);
    await expect(resolveInputs({ kind: "ids", file: path }, limits)).rejects.toMatchObject({
      code: "IDS_INVALID",
      exitCode: 3,
      details: { file: path, found },
    });
  });

  test("a file that is not JSON, or not there", async () => {
    const path = file("text.json", "1, 2");
    await expect(resolveInputs({ kind: "ids", file: path }, limits)).rejects.toMatchObject({ code: "JSON_INVALID" });
    await expect(resolveInputs({ kind: "ids", file: join(folder, "none") }, limits)).rejects.toMatchObject({
      code: "NOT_FOUND",
      exitCode: 3,
    });
  });
});

describe("ids from safetensors", () => {
  test("are input_ids", async () => {
    const path = int64File("inputs.safetensors", { input_ids: [5, 6] });
    expect((await resolveInputs({ kind: "inputs", file: path }, limits)).input.ids_T).toEqual([5, 6]);
  });

  test("position_ids pass where they count up, and are refused where they do not", async () => {
    const path = int64File("positions.safetensors", { input_ids: [5, 6], position_ids: [0, 1] });
    expect((await resolveInputs({ kind: "inputs", file: path }, limits)).input.ids_T).toEqual([5, 6]);
    const shifted = int64File("shifted.safetensors", { input_ids: [5, 6], position_ids: [1, 2] });
    await expect(resolveInputs({ kind: "inputs", file: shifted }, limits)).rejects.toMatchObject({
      code: "INPUT_NOT_SUPPORTED",
      details: { tensor: "position_ids" },
    });
  });

  test("another tensor is not ignored", async () => {
    const path = int64File("more.safetensors", { input_ids: [5, 6], image_grid_thw: [1, 2, 3] });
    await expect(resolveInputs({ kind: "inputs", file: path }, limits)).rejects.toMatchObject({
      code: "INPUT_NOT_SUPPORTED",
      details: { tensor: "image_grid_thw" },
    });
  });

  test.each([[[]], [[4, -1]]])("%j is refused", async (ids) => {
    const path = int64File("bad.safetensors", { input_ids: ids });
    await expect(resolveInputs({ kind: "inputs", file: path }, limits)).rejects.toMatchObject({
      code: "INPUTS_INVALID",
    });
  });
});

describe("a prompt", () => {
  const tokenizer = JSON.stringify({
    version: "1.0",
    added_tokens: [],
    normalizer: { type: "Lowercase" },
    pre_tokenizer: { type: "Whitespace" },
    post_processor: null,
    decoder: null,
    model: { type: "WordLevel", vocab: { the: 1, quick: 2, fox: 3, "[UNK]": 4, red: 5 }, unk_token: "[UNK]" },
  });

  test.each(["text", "file"])("given as %s is tokenised by the checkpoint's tokenizer", async (how) => {
    const home = join(folder, `model-${how}`);
    mkdirSync(home);
    writeFileSync(join(home, "tokenizer.json"), tokenizer);
    const text = how === "text" ? "The quick red fox" : `@${file("prompt.txt", "The quick red fox")}`;
    const { input, about } = await resolveInputs({ kind: "prompt", text, tokenizer: home }, limits);
    expect(input.ids_T).toEqual([1, 2, 5, 3]);
    expect(about).toMatchObject({ kind: "prompt", tokens: 4 });
    const direct = { kind: "prompt", text, tokenizer: join(home, "tokenizer.json") } as const;
    expect((await resolveInputs(direct, limits)).input).toEqual(input);
  });

  test("without tokens is refused", async () => {
    const path = file("tokenizer.json", tokenizer);
    await expect(resolveInputs({ kind: "prompt", text: " ", tokenizer: path }, limits)).rejects.toMatchObject({
      code: "PROMPT_EMPTY",
      exitCode: 3,
    });
  });

  test("with a word that the tokenizer has no id for is refused", async () => {
    const path = file("tokenizer.json", tokenizer);
    await expect(resolveInputs({ kind: "prompt", text: "the cat", tokenizer: path }, limits)).rejects.toMatchObject({
      code: "TOKENIZER_INVALID",
      message: expect.stringContaining('"cat"'),
    });
  });

  test("with a tokenizer that is none is refused", async () => {
    const path = file("no-tokenizer.json", "[1]");
    await expect(resolveInputs({ kind: "prompt", text: "a", tokenizer: path }, limits)).rejects.toMatchObject({
      code: "TOKENIZER_INVALID",
    });
    const empty = file("empty.json", "{}");
    await expect(resolveInputs({ kind: "prompt", text: "a", tokenizer: empty }, limits)).rejects.toMatchObject({
      code: "TOKENIZER_INVALID",
    });
  });
});
