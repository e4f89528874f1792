// Adapters that peft saved, merged into bases of every layout: the bits of peft's own merge_and_unload.
import { createHash } from "node:crypto";
import { cpSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { adapters } from "../../adapters/registry.ts";
import { convert } from "../../src/convert/convert.ts";
import { planConversion } from "../../src/convert/plan.ts";
import { bytesOf } from "../../src/faults/edit.ts";
import type { Checkpoint, MergedPiece, MergedRange } from "../../src/formats/checkpoint.ts";
import { measureOf, WideSum } from "../../src/formats/merged-pieces.ts";
import { Covered } from "../../src/merge/covered.ts";
import { mergeAdapters } from "../../src/merge/merge.ts";
import { openModel } from "../../src/model/model.ts";
import { openCheckpoint } from "../../src/model/open.ts";
import { recordIn } from "../../src/model/record.ts";
import { asHf } from "../../src/views/as-hf.ts";
import { cast } from "../../src/views/cast.ts";
import type { TensorSource } from "../../src/views/tensor-source.ts";
import { f32, writeSafetensors } from "../helpers/checkpoints.ts";
import { FIXTURES } from "../helpers/fixtures.ts";
import { scratch } from "../helpers/scratch.ts";

const HOME = `${FIXTURES}lora/`;
const CASES = readdirSync(HOME);

interface Expected {
  readonly base: string;
  readonly tensors: Readonly<Record<string, { readonly dtype: string; readonly sha256: string }>>;
}

const expectedOf = (name: string): Expected => JSON.parse(readFileSync(`${HOME}${name}/merged.sha256.json`, "utf8"));
const adapterOf = (name: string): string => `${HOME}${name}/adapter`;

const hashesOf = (source: TensorSource, keys: Iterable<string>) =>
  Object.fromEntries(
    [...keys].map((key) => {
      const sha256 = createHash("sha256").update(bytesOf(source, key)).digest("hex");
      return [key, { dtype: source.tensors.get(key)?.dtype, sha256 }];
    }),
  );

const wanted = ({ tensors }: Expected) =>
  Object.fromEntries(Object.entries(tensors).map(([key, { dtype, sha256 }]) => [key, { dtype, sha256 }]));

function merged<T>(base: string, paths: readonly string[], use: (checkpoint: Checkpoint) => T, config?: string): T {
  const checkpoint = mergeAdapters(openCheckpoint(base), paths, {
    adapters,
    ...(config === undefined ? {} : { config }),
  });
  try {
    return use(checkpoint);
  } finally {
    checkpoint.close();
  }
}

describe("as peft merges it", () => {
  test.each(CASES)("%s, into the files of Hugging Face", (name) => {
    const expected = expectedOf(name);
    merged(`${FIXTURES}${expected.base}`, [adapterOf(name)], (checkpoint) => {
      expect(hashesOf(checkpoint, checkpoint.tensors.keys())).toEqual(wanted(expected));
    });
  });

  // As peft 0.21 writes "all-linear" of a model whose experts are stacked.
  test.each([
    [["down_proj", "gate_up_proj", "gate.weight"]],
    [["experts.gate_up_proj", "mlp.experts.gate_up_proj", "down_proj"]],
  ])("parameters named without their module, and twice: %j", (target_parameters) => {
    const expected = expectedOf("qwen3_moe-experts");
    const path = altered("qwen3_moe-experts", (config) => ({ ...config, target_parameters }));
    merged(`${FIXTURES}${expected.base}`, [path], (checkpoint) => {
      expect(hashesOf(checkpoint, checkpoint.tensors.keys())).toEqual(wanted(expected));
    });
  });

  // The base's own files are what a trainer saved: rows permuted, parts fused, experts stacked.
  test.each(CASES)("%s, into the trainer's layout, by the view of Hugging Face", (name) => {
    const expected = expectedOf(name);
    const hf = `${FIXTURES}${expected.base}`;
    merged(
      hf.replace(/hf$/, "native"),
      [adapterOf(name)],
      (checkpoint) => {
        const { source } = asHf(openModel(checkpoint, { adapters, config: hf }), {});
        const made = hashesOf(source, source.tensors.keys());
        expect(made).toEqual(Object.fromEntries(Object.entries(wanted(expected)).filter(([key]) => key in made)));
        expect(Object.keys(made).length).toBeGreaterThan(10);
      },
      hf,
    );
  });
});

describe("a conversion with an adapter", () => {
  test("writes the base's layout, and tells what it merged in its document and record", async () => {
    const name = "qwen3_moe-experts";
    const expected = expectedOf(name);
    const target = join(scratch(), "out");
    const checkpoint = mergeAdapters(openCheckpoint(`${FIXTURES}${expected.base}`), [adapterOf(name)], { adapters });
    const plan = planConversion(checkpoint, target, { adapters });
    expect(plan.to.name).toBe("hf");
    expect(plan.asked).toMatchObject({ "--merge-adapter": adapterOf(name) });
    const result = await convert(plan, { fsync: false });
    checkpoint.close();
    const written = openCheckpoint(target);
    expect(hashesOf(written, written.tensors.keys())).toEqual(wanted(expected));
    const sha256 = createHash("sha256")
      .update(readFileSync(join(adapterOf(name), "adapter_model.safetensors")))
      .digest("hex");
    expect(recordIn(written.folder)?.merged).toEqual([{ adapter: adapterOf(name), sha256, products: 6, replaced: 0 }]);
    written.close();
    expect(result.merged?.tensors).toHaveLength(2 + 2 * 12 * 3);
    const gate = result.merged?.tensors.find(({ key }) => key === "model.layers.1.mlp.experts.7.up_proj.weight");
    expect(gate).toMatchObject({ from: "model.layers.1.mlp.experts.gate_up_proj", kind: "product", rank: 2, scale: 2 });
    expect(gate?.measured?.deltaNorm).toBeGreaterThan(0);
    expect(gate?.measured?.maxChange).toBeLessThan(gate?.measured?.deltaNorm ?? 0);
  });

  test("goes on to a trainer's layout, with a record of what it was", async () => {
    const name = "llama3-patterns";
    const target = join(scratch(), "out");
    const checkpoint = mergeAdapters(openCheckpoint(`${FIXTURES}${expectedOf(name).base}`), [adapterOf(name)], {
      adapters,
    });
    await convert(planConversion(checkpoint, target, { adapters, to: "torchtitan" }), { fsync: false });
    checkpoint.close();
    const native = openCheckpoint(target);
    expect(recordIn(native.folder)?.merged).toHaveLength(1);
    const { source } = asHf(openModel(native, { adapters }), {});
    expect(hashesOf(source, source.tensors.keys())).toEqual(wanted(expectedOf(name)));
    native.close();
  });

  test("adds several adapters in their order, rounded once", () => {
    const { base } = expectedOf("llama3-lora-bias");
    const key = "model.layers.0.self_attn.q_proj.weight";
    const values = (paths: readonly string[]) =>
      merged(
        `${FIXTURES}${base}`,
        paths,
        (checkpoint) => new Float32Array(new Uint8Array(bytesOf(checkpoint, key)).buffer),
      );
    const [plain, a, b] = [values([]), values([adapterOf("llama3-lora-bias")]), values([adapterOf("llama3-patterns")])];
    const both = values([adapterOf("llama3-lora-bias"), adapterOf("llama3-patterns")]);
    for (const [i, value] of both.entries()) expect(value).toBeCloseTo(a[i]! + b[i]! - plain[i]!, 5);
  });
});

test("what is to be f32 is summed in it, in one layout and the other", () => {
  const base = `${FIXTURES}qwen3/bf16`;
  const path = adapterOf("qwen3-bf16");
  const key = "model.layers.1.mlp.up_proj.weight";
  const read = (checkpoint: Checkpoint) => {
    const { source } = asHf(openModel(checkpoint, { adapters, config: `${base}/hf` }), { mixedDtypes: true });
    return [source.tensors.get(key)?.dtype, new Uint8Array(bytesOf(source, key))] as const;
  };
  const open = (at: string, dtype: readonly string[]) => {
    const checkpoint = mergeAdapters(openCheckpoint(at), [path], { adapters, config: `${base}/hf`, dtype });
    const made = read(checkpoint);
    checkpoint.close();
    return made;
  };
  const [[type, wide], [, narrow], [, native]] = [
    open(`${base}/hf`, ["f32"]),
    open(`${base}/hf`, ["keep"]),
    open(`${base}/native`, ["f32"]),
  ];
  expect(type).toBe("F32");
  expect(cast(wide, "F32", "BF16")).toEqual(narrow);
  expect(cast(narrow, "BF16", "F32")).not.toEqual(wide);
  expect(native).toEqual(wide);
});

/** An adapter with another config, or other words in it. */
function altered(name: string, change: (config: Record<string, unknown>) => Record<string, unknown>): string {
  const folder = join(scratch(), "adapter");
  cpSync(adapterOf(name), folder, { recursive: true });
  const path = join(folder, "adapter_config.json");
  writeFileSync(path, JSON.stringify(change(JSON.parse(readFileSync(path, "utf8")))));
  return folder;
}

function codeOf(base: string, ...paths: readonly string[]): string {
  try {
    merged(base, paths, () => undefined);
  } catch (error) {
    return error instanceof Error && "code" in error ? `${error.code}` : `${error}`;
  }
  return "none";
}

/** An adapter of rank 2 and alpha 3 with these tensors. */
function madeAdapter(
  shapes: Readonly<Record<string, readonly number[]>>,
  fields: Readonly<Record<string, unknown>> = {},
  lead = "model.",
  value: (i: number) => number = (i) => ((i * 7) % 11) - 5,
): string {
  const tensors = Object.entries(shapes).map(
    ([key, shape]) => [`base_model.model.${lead}${key}`, f32(shape, value)] as const,
  );
  const folder = writeSafetensors(join(scratch(), "adapter"), new Map(tensors));
  writeFileSync(
    join(folder, "adapter_config.json"),
    JSON.stringify({ peft_type: "LORA", r: 2, lora_alpha: 3, ...fields }),
  );
  return join(folder, "model.safetensors");
}

describe("products, by hand", () => {
  const base = `${FIXTURES}llama3/biased/hf`;
  const q = "layers.0.self_attn.q_proj";
  const at = (i: number) => ((i * 7) % 11) - 5;
  const singles = (bytes: Uint8Array) => new Float32Array(new Uint8Array(bytes).buffer);
  const weight = (paths: readonly string[]) =>
    merged(base, paths, (checkpoint) => singles(bytesOf(checkpoint, `model.${q}.weight`)));

  test("as rows × columns, 1.5·(B·A), whatever class the keys are of", () => {
    const shapes = { [`${q}.lora_A.weight`]: [2, 36], [`${q}.lora_B.weight`]: [60, 2] };
    const before = weight([]);
    for (const lead of ["model.", ""]) {
      const after = weight([madeAdapter(shapes, {}, lead)]);
      for (const [i, value] of after.entries()) {
        const [row, column] = [Math.floor(i / 36), i % 36];
        const delta = 1.5 * (at(2 * row) * at(column) + at(2 * row + 1) * at(36 + column));
        expect(value).toBe(Math.fround(before[i]! + delta));
      }
    }
  });

  test("transposed, where the config says that weights stand as in × out", () => {
    const path = madeAdapter(
      { [`${q}.lora_A.weight`]: [2, 60], [`${q}.lora_B.weight`]: [36, 2] },
      { fan_in_fan_out: true },
    );
    const [before, after] = [weight([]), weight([path])];
    for (const [i, value] of after.entries()) {
      const [input, output] = [Math.floor(i / 36), i % 36];
      const delta = 1.5 * (at(2 * output) * at(input) + at(2 * output + 1) * at(60 + input));
      expect(value).toBe(Math.fround(before[i]! + delta));
    }
  });

  test("by any range, also one that cuts elements, and measured once", () => {
    const path = madeAdapter({ [`${q}.lora_A.weight`]: [2, 36], [`${q}.lora_B.weight`]: [60, 2] });
    merged(base, [path], (checkpoint) => {
      const key = `model.${q}.weight`;
      expect(checkpoint.merged?.measured(key)).toBeNull();
      const all = bytesOf(checkpoint, key);
      const measured = checkpoint.merged?.measured(key);
      const part = new Uint8Array(77);
      checkpoint.read(key, 149, part);
      expect(part).toEqual(new Uint8Array(all.slice(149, 149 + 77)));
      expect(checkpoint.merged?.measured(key)).toEqual(measured);
      expect(measured?.changed).toBe(60 * 36 - [...Array(60 * 36).keys()].filter((i) => isUnchanged(i)).length);
    });
  });

  const isUnchanged = (i: number): boolean => {
    const [row, column] = [Math.floor(i / 36), i % 36];
    return at(2 * row) * at(column) + at(2 * row + 1) * at(36 + column) === 0;
  };
});

test("ranges that were seen are counted once", () => {
  const covered = new Covered();
  expect(covered.add(10, 20)).toEqual([[10, 20]]);
  expect(covered.add(0, 5)).toEqual([[0, 5]]);
  expect(covered.add(3, 12)).toEqual([[5, 10]]);
  expect(covered.add(2, 18)).toEqual([]);
  expect(covered.add(15, 30)).toEqual([[20, 30]]);
  expect(covered.add(40, 40)).toEqual([]);
  expect(covered.ranges).toEqual([[0, 30]]);
});

describe("pieces of a tensor that several processes made", () => {
  const piece = (
    [begin, end]: readonly [number, number],
    square: number,
    changed: number,
    first: MergedRange["first"] = [],
  ): MergedPiece => {
    const ranges = [{ begin, end, first }];
    return { key: "a", elements: 30, ranges, sumOfSquares: [square, 0], maxChange: changed / 10, changed };
  };
  const [first, second, third] = [piece([0, 10], 1, 3), piece([10, 15], 3, 5), piece([15, 30], 5, 4)];
  const both = [[2, true] as const, [4, false] as const];

  test("give what one that made all of it says", () => {
    expect(measureOf([third, first, second])).toEqual({ deltaNorm: 3, maxChange: 0.5, changed: 12 });
    const whole = piece([0, 30], 9, 12);
    expect(measureOf([second, whole])).toEqual({ deltaNorm: 3, maxChange: 1.2, changed: 12 });
  });

  test("count what two made once", () => {
    const cut = piece([13, 30], 11, 5, both);
    expect(measureOf([cut, second, first])).toEqual({ deltaNorm: 3, maxChange: 0.5, changed: 12 });
  });

  test.each([
    ["none", []],
    ["some are missing", [first, third]],
    ["some are missing at the end", [first, second]],
    ["more were made twice than are told of", [first, second, piece([12, 30], 5, 4, both)]],
    ["one lies in another", [first, second, third, piece([16, 17], 2, 1, both)]],
  ])("say nothing where %s", (_, pieces) => {
    expect(measureOf(pieces)).toBeNull();
  });

  test("have one sum in whatever order", () => {
    const terms = Array.from({ length: 5000 }, (_, i) => Math.fround(Math.sin(i) * 10 ** (i % 9)) ** 2);
    const sum = (all: readonly number[]) => {
      const wide = new WideSum();
      wide.add(all);
      return wide;
    };
    const whole = sum(terms).value;
    expect(sum(terms.toReversed()).value).toBe(whole);
    const halves = sum(terms.slice(3000));
    halves.addSum(sum(terms.slice(0, 3000)).parts);
    expect(halves.value).toBe(whole);
    const plain = (all: readonly number[]) => all.reduce((total, each) => total + each, 0);
    expect(plain(terms.toReversed())).not.toBe(plain(terms));
  });
});

describe("what is not merged is named", () => {
  const base = `${FIXTURES}llama3/biased/hf`;
  const name = "llama3-patterns";

  test.each<[string, Record<string, unknown>, string]>([
    ["DoRA", { use_dora: true }, "ADAPTER_UNSUPPORTED"],
    ["LoHa", { peft_type: "LOHA" }, "ADAPTER_UNSUPPORTED"],
    ["PiSSA", { init_lora_weights: "pissa_niter_4" }, "ADAPTER_UNSUPPORTED"],
    ["aLoRA", { alora_invocation_tokens: [1, 2] }, "ADAPTER_UNSUPPORTED"],
    ["other layers", { layer_replication: [[0, 2]] }, "ADAPTER_UNSUPPORTED"],
    ["another rank", { rank_pattern: {} }, "ADAPTER_MALFORMED"],
    ["no rank", { r: "three" }, "ADAPTER_MALFORMED"],
    ["a pattern that is none", { alpha_pattern: { "(": 1 } }, "ADAPTER_MALFORMED"],
  ])("%s", (_, fields, code) => {
    expect(
      codeOf(
        base,
        altered(name, (config) => ({ ...config, ...fields })),
      ),
    ).toBe(code);
  });

  test("products of a module whose parameters the config does not name", () => {
    const path = altered("qwen3_moe-experts", (config) => ({
      ...config,
      target_parameters: ["mlp.experts.down_proj"],
    }));
    expect(codeOf(`${FIXTURES}qwen3_moe/untied/hf`, path)).toBe("ADAPTER_AMBIGUOUS");
  });

  test("tensors that touch nothing, another shape, no adapter, two for one place", () => {
    expect(codeOf(`${FIXTURES}qwen3/bf16/hf`, adapterOf(name))).toBe("ADAPTER_UNMATCHED");
    expect(codeOf(`${FIXTURES}llama3/bf16/hf`, adapterOf("qwen3-bf16"))).toBe("ADAPTER_MISFIT");
    expect(codeOf(base, base)).toBe("ADAPTER_MISSING");
    expect(codeOf(base, adapterOf(name), adapterOf(name))).toBe("ADAPTER_AMBIGUOUS");
  });

  test("codes that would be changed, and not those beside what is", () => {
    const experts = madeAdapter(
      { "layers.0.mlp.experts.lora_A.weight": [10, 64], "layers.0.mlp.experts.lora_B.weight": [192, 10] },
      { target_parameters: ["experts.gate_up_proj"] },
    );
    const attention = madeAdapter({
      "layers.0.self_attn.k_proj.lora_A.weight": [2, 64],
      "layers.0.self_attn.k_proj.lora_B.weight": [20, 2],
    });
    expect(codeOf(`${FIXTURES}gpt_oss/mxfp4/hf`, experts)).toBe("ADAPTER_ON_CODES");
    expect(codeOf(`${FIXTURES}gpt_oss/mxfp4/hf`, attention)).toBe("none");
  });

  test("a head of its own for one that the base ties", () => {
    expect(codeOf(`${FIXTURES}llama3/fused-tied/hf`, madeAdapter({ "lm_head.weight": [197, 42] }, {}, ""))).toBe(
      "ADAPTER_UNTIES",
    );
  });

  test("a factor without the other, of a convolution, of another kind", () => {
    const q = "layers.0.self_attn.q_proj";
    expect(codeOf(base, madeAdapter({ [`${q}.lora_A.weight`]: [2, 36] }))).toBe("ADAPTER_MALFORMED");
    expect(
      codeOf(base, madeAdapter({ [`${q}.lora_A.weight`]: [2, 36, 1, 1], [`${q}.lora_B.weight`]: [60, 2, 1, 1] })),
    ).toBe("ADAPTER_UNSUPPORTED");
    expect(codeOf(base, madeAdapter({ [`${q}.lora_magnitude_vector`]: [60] }))).toBe("ADAPTER_UNSUPPORTED");
  });

  test("values that are no numbers, when they are added", () => {
    const q = "layers.0.self_attn.q_proj";
    const path = madeAdapter(
      { [`${q}.lora_A.weight`]: [2, 36], [`${q}.lora_B.weight`]: [60, 2] },
      {},
      "model.",
      () => Number.NaN,
    );
    const read = () => merged(base, [path], (checkpoint) => bytesOf(checkpoint, `model.${q}.weight`));
    expect(read).toThrow(expect.objectContaining({ code: "ADAPTER_NOT_FINITE" }));
  });
});
