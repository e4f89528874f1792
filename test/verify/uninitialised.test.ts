// Memory that nothing was written to, as a rank or a tensor that was left out holds it, and what only looks like it.
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { adapters } from "../../adapters/registry.ts";
import { openModel } from "../../src/model/model.ts";
import { type Validation, validate } from "../../src/verify/validate.ts";
import { Shares } from "../../src/views/values/untouched.ts";
import { opened, readState, type State, type Stored, writeDcp, writeSafetensors } from "../helpers/checkpoints.ts";
import { encodedCases, fixture, tableCases } from "../helpers/fixtures.ts";
import { scratch } from "../helpers/scratch.ts";

const validated = (path: string, config?: string): Promise<Validation> =>
  opened(path, (checkpoint) => validate(openModel(checkpoint, { adapters, config })));

const KINDS = new Set(["nan", "implausible", "untouched", "repeated", "constant", "zero", "subnormal"]);

async function found(from: string, change: (state: State) => void): Promise<string[]> {
  const state = readState(from);
  change(state);
  const path = writeSafetensors(join(scratch(), "changed"), state, { config: join(from, "config.json") });
  const { differences } = await validated(path);
  return differences.filter(({ kind }) => KINDS.has(kind)).map(({ key, kind }) => `${key}: ${kind}`);
}

/** The tensor with some of its bytes as `make` gives them. */
const filled = (tensor: Stored, make: (byte: number) => number | null): Stored => ({
  ...tensor,
  bytes: tensor.bytes.map((own, i) => make(i) ?? own),
});

const rowBytes = ({ bytes, shape: [rows = 1] }: Stored): number => bytes.length / rows;
/** Little-endian words of 8 bytes that lie about in a heap: addresses, lengths, reference counts. */
const HEAP = Buffer.from("c0a1b2c3f17f00002000000000000000010000000000000050d3550a7f550000", "hex");

describe.each(["llama3/split", "llama3/bf16"])("%s", (name) => {
  const { hf } = fixture(name);
  const key = "model.layers.1.mlp.up_proj.weight";
  const change = (make: (tensor: Stored) => Stored) => (state: State) => state.set(key, make(state.get(key)!));
  const half = (tensor: Stored) => rowBytes(tensor) * Math.floor(tensor.shape[0]! / 2);
  const width = (tensor: Stored) => rowBytes(tensor) / tensor.shape[1]!;

  test.each<[string, (tensor: Stored) => Stored, string]>([
    ["memory of the heap", (tensor) => filled(tensor, (i) => HEAP[i % HEAP.length]!), "implausible"],
    ["small integers", (tensor) => filled(tensor, (i) => (i % width(tensor) === 0 ? 1 + (i % 7) : 0)), "subnormal"],
    [
      "memory of the heap in half of it",
      (tensor) => filled(tensor, (i) => (i < half(tensor) ? HEAP[i % HEAP.length]! : null)),
      "implausible",
    ],
    [
      "integers in a rank's rows",
      (tensor) => filled(tensor, (i) => (i < half(tensor) ? (i % width(tensor) === 0 ? 1 + (i % 5) : 0) : null)),
      "implausible",
    ],
    ["zeros in a rank's rows", (tensor) => filled(tensor, (i) => (i < half(tensor) / 2 ? 0 : null)), "untouched"],
    ["a constant in a rank's rows", (tensor) => filled(tensor, (i) => (i >= half(tensor) ? 0x3c : null)), "untouched"],
    [
      "zeros in a rank's columns",
      (tensor) => filled(tensor, (i) => (i % rowBytes(tensor) < rowBytes(tensor) / 4 ? 0 : null)),
      "untouched",
    ],
  ])("%s", async (what, make, kind) => {
    // Addresses are NaN in BF16.
    const asNaN = name.endsWith("bf16") && kind === "implausible" && what.startsWith("memory");
    expect(await found(hf, change(make))).toEqual([`${key}: ${asNaN ? "nan" : kind}`]);
  });

  test("a layer that holds another", async () => {
    const names = ["mlp.up_proj", "mlp.down_proj", "self_attn.q_proj"];
    const copy = (state: State) => {
      for (const each of names) state.set(`model.layers.1.${each}.weight`, state.get(`model.layers.0.${each}.weight`)!);
    };
    const expected = names.map((each) => `model.layers.1.${each}.weight: repeated`);
    expect((await found(hf, copy)).sort()).toEqual(expected.sort());
  });

  test("padded rows of the vocabulary, and a head equal to the embedding, are no finding", async () => {
    const pad = (state: State) => {
      const embedding = state.get("model.embed_tokens.weight")!;
      const from = embedding.bytes.length - rowBytes(embedding) * Math.floor(embedding.shape[0]! / 4);
      const padded = filled(embedding, (i) => (i >= from ? 0 : null));
      state.set("model.embed_tokens.weight", padded).set("lm_head.weight", padded);
    };
    expect(await found(hf, pad)).toEqual([]);
  });
});

test("experts that are all copies of one are told and no finding; some of them are", async () => {
  const { hf } = fixture("qwen3_moe/untied");
  const copy = (only: number | null) => (state: State) => {
    for (const key of state.keys()) {
      const [, before, expert, after] = /^(.*\.experts\.)(\d+)(\..*)$/.exec(key) ?? [];
      if (expert !== undefined && (only === null || Number(expert) === only))
        state.set(key, state.get(`${before}0${after}`)!);
    }
  };
  const one = await found(hf, copy(2));
  expect(one.length).toBeGreaterThan(2);
  expect(one.every((words) => /experts\.2\..*: repeated$/.test(words))).toBe(true);
});

describe.each([...tableCases, ...encodedCases])("$name", ({ hf, native }) => {
  test("is what it is, in either layout", async () => {
    for (const path of [hf, native]) {
      const { differences } = await validated(path, hf);
      expect(differences.filter(({ kind }) => KINDS.has(kind))).toEqual([]);
    }
  });
});

describe.each(["llama3/split", "qwen3_moe/untied"])("%s on four ranks", (name) => {
  const { hf, native } = fixture(name);

  test.each<[string, (i: number) => number]>([
    ["zeros", () => 0],
    ["memory of the heap", (i) => HEAP[i % HEAP.length]!],
  ])("one of them wrote %s", async (_, byteAt) => {
    const state = readState(native);
    const expected: string[] = [];
    for (const [key, tensor] of state) {
      const [rows = 1, ...inner] = tensor.shape;
      const share = Math.ceil(rows / 4) * rowBytes(tensor);
      if (inner.length === 0) continue;
      state.set(
        key,
        filled(tensor, (i) => (i >= 2 * share && i < 3 * share ? byteAt(i) : null)),
      );
      // Rows of the vocabulary may be padding.
      if (!/tok_embeddings|^output|lm_head/.test(key)) expected.push(key);
    }
    const { differences } = await validated(writeDcp(join(scratch(), "ranks"), state), hf);
    const keys = new Set(differences.filter(({ kind }) => KINDS.has(kind)).map(({ key }) => key));
    expect(expected.filter((key) => !keys.has(key))).toEqual([]);
  });
});

/** As transformers begins: norms are the identity, biases 0. */
test.each([
  "llama3/biased",
  "qwen3/bf16",
  "gpt_oss/bf16",
  "hf_dense/gemma2-tied-bf16",
  "qwen3_5/vision-tied-bf16",
  "qwen3_5_moe/text",
])("%s as it begins is no finding", async (name) => {
  const { hf } = fixture(name);
  const { centredNorms } = await opened(hf, (checkpoint) => openModel(checkpoint, { adapters }).family);
  const begin = (state: State) => {
    for (const [key, tensor] of state) {
      const one = tensor.dtype === "F32" ? [0, 0, 0x80, 0x3f] : [0x80, 0x3f];
      const isZero = /bias$/.test(key) || centredNorms?.test(key);
      if (isZero)
        state.set(
          key,
          filled(tensor, () => 0),
        );
      else if (/norm[^.]*\.weight$/.test(key))
        state.set(
          key,
          filled(tensor, (i) => one[i % one.length]!),
        );
    }
  };
  expect(await found(hf, begin)).toEqual([]);
});

test("one of many experts in a stack that nothing was written to", () => {
  const [experts, rows, width] = [64, 16, 8];
  const share = (shape: readonly number[], dead: readonly [number, number]) => {
    const shares = new Shares(shape);
    const words = Uint16Array.from({ length: experts * rows * width }, (_, i) => {
      const row = Math.floor(i / width);
      return row >= dead[0] && row < dead[1] ? 0 : 0x3c00 + i;
    });
    shares.see(words, 0, 0x7fff);
    return shares.found;
  };
  expect(share([experts, rows, width], [32, 48])).toMatchObject({ axis: "rows", begin: 32, end: 48 });
  // Dead neurons of two experts, and of a matrix that is no stack.
  expect(share([experts, rows, width], [40, 56])).toBeNull();
  expect(share([experts * rows, width], [32, 48])).toBeNull();
});
