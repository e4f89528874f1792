// The image processor of the walk-through, in a plugin with a small model that sees: what it says is what is computed.
import { copyFileSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { beforeEach, describe, expect, test } from "vitest";
import { run } from "../cli/command.ts";
import { readState, type Stored, writeSafetensors } from "../helpers/checkpoints.ts";
import { FIXTURES } from "../helpers/fixtures.ts";
import { scratch } from "../helpers/scratch.ts";

const text = readFileSync(fileURLToPath(new URL("../../docs/add-a-family.md", import.meta.url)), "utf8");
const [block, ...others] = [...text.matchAll(/^```js sees\.mjs\n(.*?)^```$/gms)].map(([, code]) => code!);

/** Tokens are rows of the embedding, patches a linear map of their 48 values; the head is the only layer. */
const FAMILY = `
const config = { v: 27, d: 5, p: 48 };
const keys = { embed: "model.embed_tokens.weight", patch: "model.patch.weight", head: "lm_head.weight" };
const native = { embed: "embed.weight", patch: "patch_in.weight", head: "head.weight" };

const forwardOf = ({ embed, patch, head }) =>
  function* (op, w, { ids_T, images }) {
    let rows = w(embed);
    let patches = 0;
    if (images) {
      const pixels = op.constant(images.pixels, [images.patches, images.patchDim]);
      rows = op.concat([rows, op.linear(pixels, w(patch))], 0);
    }
    const x_TD = op.gather(rows, ids_T.map((id) => (id === 7 ? config.v + patches++ : id)));
    yield { name: "embed", value: x_TD };
    return op.linear(x_TD, w(head));
  };

export default (kit) => kit.defineFamily({
  family: "seer",
  modelTypes: ["seer"],
  flavours: ["dense"],
  modalities: ["text", "image"],
  probes: [{ model_type: "seer" }],
  sources: [],
  encodable: { fp8: { keys: ["model.patch.weight"] } },
  parse: () => config,
  facts: ({ v, p }) => ({
    vocabSize: v,
    maxPositions: 512,
    dtype: null,
    vision: { patchDim: p, mergeSize: 1, imageToken: 7, around: null, reserved: [7], processor: oneSizeProcessor(kit) },
  }),
  axes: (sizes) => sizes,
  math: (sizes) => sizes,
  hfConfig: (_, json) => json,
  hf: { graph: () => forwardOf(keys) },
  layouts: [
    {
      name: "theirs",
      trainer: "them",
      rules: () => Object.keys(keys).map((name) => kit.rename(native[name], keys[name], name === "patch" ? "d p" : "v d")),
      graph: () => forwardOf(native),
    },
  ],
});
`;

const tensor = (shape: readonly number[], value: (i: number) => number): Stored => {
  const values = Float32Array.from({ length: shape.reduce((a, b) => a * b) }, (_, i) => value(i));
  return { dtype: "F32", shape, bytes: new Uint8Array(values.buffer) };
};

let directory = "";
let hf = "";
let plugin = "";

beforeEach(async () => {
  directory = scratch();
  hf = join(directory, "hf");
  plugin = join(directory, "sees.mjs");
  writeFileSync(plugin, block + FAMILY);
  const state = new Map([
    ["model.embed_tokens.weight", tensor([27, 5], (i) => Math.sin(i))],
    ["model.patch.weight", tensor([5, 48], (i) => Math.cos(i))],
    ["lm_head.weight", tensor([27, 5], (i) => Math.sin(3 * i))],
  ]);
  writeSafetensors(hf, state);
  writeFileSync(join(hf, "config.json"), '{"model_type": "seer"}');
  expect((await run(hf, join(directory, "native"), "--adapter", plugin, "--quiet")).code).toBe(0);
  for (const name of ["tokenizer.json", "tokenizer_config.json"]) {
    copyFileSync(join(FIXTURES, "images/qwen2_vl", name), join(hf, name));
  }
  configure({});
});

/** Every image becomes 8 rows of 12 pixels: 2 by 3 patches of 4 by 4. */
function configure(json: object): void {
  const own = { image_processor_type: "OneSizeImageProcessor", size: { height: 8, width: 12 } };
  writeFileSync(
    join(hf, "preprocessor_config.json"),
    JSON.stringify({ ...own, patch_size: 4, merge_size: 1, ...json }),
  );
}

const parity = (...args: string[]) =>
  run("parity", join(directory, "native"), hf, "--adapter", plugin, "--backend", "cpu", "--json", ...args);

const WIDE = join(FIXTURES, "images/wide.png");

const ask = (image: string, ...args: string[]) => parity("--prompt", "what <|image_pad|>", "--image", image, ...args);

/** The module of the page with some of its text replaced. */
function changed(from: string, to: string): void {
  const whole = block + FAMILY;
  expect(whole.split(from)).toHaveLength(2);
  // A module of the same name would be the one that is loaded already.
  plugin = join(directory, "changed.mjs");
  writeFileSync(plugin, whole.replace(from, to));
}

test("the page has one block", () => {
  expect([typeof block, others]).toEqual(["string", []]);
});

describe("the plugin's processor", () => {
  test("gives every image its size, which the config says", async () => {
    const { code, json } = await ask(WIDE);
    expect(code).toBe(0);
    expect(json).toMatchObject({ verdict: "pass", a: { family: "seer" }, inputs: { images: 1, tokens: 2 + 6 } });
    configure({ size: { height: 16, width: 4 } });
    expect((await ask(WIDE)).json.inputs).toMatchObject({ images: 1, tokens: 2 + 4 });
    // wide.png has 61 by 43 pixels.
    changed("() => ({ resized })", "({ height, width }) => ({ resized: { height: 4, width: 4 * (width - height) } })");
    expect((await ask(WIDE)).json.inputs).toMatchObject({ images: 1, tokens: 2 + 18 });
  });

  test("has patches, values and tokens around them as it says", async () => {
    const { default: sharp } = await import("sharp");
    const red = join(directory, "red.png");
    await sharp({ create: { width: 5, height: 3, channels: 3, background: "red" } }).toFile(red);
    changed("around: null, // tokens", 'around: ["<|vision_start|>", "<|vision_end|>"], // tokens');
    const logits = ["ours", "given"].map((name) => join(directory, `${name}.safetensors`));
    expect((await ask(red, "--save-logits", logits[0]!)).code).toBe(0);
    // Red is 1 and the other two −1, colour by colour for every pixel.
    const ids = readState(logits[0]!).get("input_ids")!;
    const inputs = new Map([
      ["input_ids", ids],
      ["pixel_values", tensor([6, 48], (i) => (i % 3 === 0 ? 1 : -1))],
      [
        "image_grid_thw",
        { dtype: "I64", shape: [1, 3], bytes: new Uint8Array(new BigInt64Array([1n, 2n, 3n]).buffer) },
      ],
    ] as const);
    const given = join(writeSafetensors(join(directory, "inputs"), new Map(inputs)), "model.safetensors");
    expect((await parity("--inputs", given, "--save-logits", logits[1]!)).code).toBe(0);
    expect(readState(logits[0]!)).toEqual(readState(logits[1]!));
    expect([...new BigInt64Array(ids.bytes.slice().buffer)].slice(-8).map(Number)).toEqual([9, 7, 7, 7, 7, 7, 7, 10]);
  });
});

describe("refused:", () => {
  test.each<[string, () => void, string, string]>([
    ["a config of another class", () => configure({ image_processor_type: "X" }), "PROCESSOR_UNKNOWN", "OneSizeImage"],
    ["a size that is none", () => configure({ size: { height: "8" } }), "PROCESSOR_INVALID", '"size.height" is "8"'],
    ["a size that cannot be cut", () => configure({ size: { height: 8, width: 10 } }), "IMAGE_SIZE", "10 × 8"],
    ["patches of another size", () => configure({ patch_size: 2 }), "PROCESSOR_MISMATCH", "patches of 12 values"],
    [
      "no number",
      () => changed("() => ({ resized })", "() => ({ resized: { height: 4 } })"),
      "IMAGE_SIZE",
      "undefined",
    ],
    ["a mistake in its size", () => changed("() => ({ resized })", "() => size.none()"), "ADAPTER_FAILED", "sizeOf()"],
    ["a mistake in its reader", () => changed('size.count("width")', "size.none()"), "ADAPTER_FAILED", "read()"],
    ["no processor", () => changed("processor: oneSizeProcessor(kit)", ""), "PROCESSOR_UNKNOWN", "wide.png"],
  ])("%s", async (_, change, code, message) => {
    change();
    const ran = await ask(WIDE);
    expect([ran.code, ran.json.error.code]).toEqual([3, code]);
    expect(JSON.stringify(ran.json.error)).toContain(JSON.stringify(message).slice(1, -1));
  });
});

test("the plugin's word on what is encoded is what --encoding encodes", async () => {
  const target = join(directory, "fp8");
  const args = ["convert", join(directory, "native"), target, "--adapter", plugin, "--to", "hf", "--json"];
  expect((await run(...args, "--encoding", "fp8")).code).toBe(0);
  expect([...readState(target)].map(([key, { dtype }]) => [key, dtype]).toSorted()).toEqual([
    ["lm_head.weight", "F32"],
    ["model.embed_tokens.weight", "F32"],
    ["model.patch.weight", "F8_E4M3"],
    ["model.patch.weight_scale_inv", "F32"],
  ]);
  const { code, json } = await run(...args, "--force", "--encoding", "mxfp4");
  expect([code, json.error.code, json.error.expected]).toEqual([
    3,
    "ENCODING_NO_TENSORS",
    "a family that is stored as mxfp4",
  ]);
});
