import { readdirSync, readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { bitsOf, DTYPES, elementCount } from "../../../src/base/dtype.ts";
import { InputError } from "../../../src/base/errors.ts";
import type { Checkpoint } from "../../../src/formats/checkpoint.ts";
import type { OutputFile } from "../../../src/formats/output.ts";
import { compareKeys } from "../../../src/formats/safetensors/encode.ts";
import { openSafetensors } from "../../../src/formats/safetensors/open.ts";
import { planSafetensors, planSafetensorsAgain } from "../../../src/formats/safetensors/write.ts";

const fixtures = new URL("../../../fixtures/safetensors/", import.meta.url);
const pathOf = (name: string) => new URL(name, fixtures).pathname;

/** The bytes that a planned file will have, its tensors read from `source`. */
function render(file: OutputFile, source: Checkpoint): Buffer {
  const parts = file.parts.map((part) => {
    if (part.kind === "bytes") return Buffer.from(part.bytes);
    if (part.kind !== "tensor") throw new Error(`safetensors has no ${part.kind}`);
    const bytes = Buffer.alloc(part.end - part.begin);
    source.read(part.key, part.begin, bytes);
    return bytes;
  });
  const bytes = Buffer.concat(parts);
  expect(bytes.length).toBe(file.byteLength);
  return bytes;
}

/** Another order, the same in each run. */
const shuffled = <T>(list: readonly T[]): T[] => [
  ...list.filter((_, i) => i % 2 === 1),
  ...list.filter((_, i) => i % 2 === 0),
];

const singles = readdirSync(fixtures).filter((name) => name.endsWith(".safetensors"));

describe.each(singles)("%s, as the official library wrote it", (name) => {
  it("is read, and written again with the same bytes from its tensors in any order", () => {
    const checkpoint = openSafetensors(pathOf(name));
    const origin = checkpoint.safetensors?.files[0];
    expect(origin?.canonical).toBe(true);
    const tensors = shuffled([...checkpoint.tensors.values()]);
    const files = planSafetensors(tensors, { metadata: origin?.metadata ?? null, singleName: name });
    expect(files.map((file) => file.name)).toEqual([name]);
    expect(files.map((file) => render(file, checkpoint))).toEqual([readFileSync(pathOf(name))]);
    checkpoint.close();
  });
});

it("covers all dtypes that the library's Python side can write", () => {
  const checkpoint = openSafetensors(pathOf("dtypes.safetensors"));
  const dtypes = new Set([...checkpoint.tensors.values()].map(({ dtype }) => dtype));
  expect(DTYPES.filter((dtype) => !dtypes.has(dtype))).toEqual(["F6_E2M3", "F6_E3M2"]);
  checkpoint.close();
});

const sharded: unknown = JSON.parse(readFileSync(pathOf("sharded.json"), "utf8"));

describe("shards of transformers' save_pretrained", () => {
  const checkpoint = openSafetensors(pathOf("sharded"));
  const names = readdirSync(pathOf("sharded")).sort();
  const bytes = names.map((name) => readFileSync(pathOf(`sharded/${name}`)));
  const { keys, maxShardSize, parameters } = Object(sharded);
  const info = (key: string) => checkpoint.tensors.get(key) ?? expect.fail(key);
  const sorted = (files: readonly OutputFile[]) => [...files].sort((a, b) => compareKeys(a.name, b.name));

  it("are planned anew with the same names and bytes, index included", () => {
    const tensors = keys.map(info);
    const files = sorted(
      planSafetensors(tensors, { metadata: { format: "pt" }, maxShardSize, totalParameters: parameters }),
    );
    expect(files.map(({ name }) => name)).toEqual(names);
    expect(files.map((file) => render(file, checkpoint))).toEqual(bytes);
    expect(planSafetensors(tensors, { maxShardSize, metadata: { format: "pt" } }).at(-1)).toEqual(files.at(-1));
  });

  it("are written again from their origin", () => {
    const tensors = shuffled([...checkpoint.tensors.values()]);
    const files = sorted(planSafetensorsAgain(tensors, checkpoint.safetensors ?? expect.fail()));
    expect(files.map((file) => render(file, checkpoint))).toEqual(bytes);
  });

  it("keep their layout when a tensor was cast, with a new index", () => {
    const tensors = [...checkpoint.tensors.values()].map((tensor) => ({ ...tensor, dtype: "BF16" as const }));
    const origin = checkpoint.safetensors ?? expect.fail();
    const files = planSafetensorsAgain(tensors, origin, { cast: true });
    expect(files.map(({ name }) => name).sort()).toEqual(names);
    const index = files.at(-1)?.parts[0];
    const text = index?.kind === "bytes" ? Buffer.from(index.bytes).toString() : "";
    expect(text).toBe(origin.index?.text.replace(`"total_size": ${parameters * 4}`, `"total_size": ${parameters * 2}`));
    expect(text).not.toBe(origin.index?.text);
  });

  it("are refused when the tensors are others", () => {
    const origin = checkpoint.safetensors ?? expect.fail();
    const tensors = [...checkpoint.tensors.values()];
    const more = [...tensors, { key: "more", dtype: "F32" as const, shape: [1] }];
    expect(() => planSafetensorsAgain(tensors.slice(1), origin)).toThrow(/recorded for this file and not at hand/);
    expect(() => planSafetensorsAgain(more, origin)).toThrow(/belongs to none of the recorded files/);
  });
});

describe("splitting", () => {
  const tensor = (key: string, bytes: number) => ({ key, dtype: "U8" as const, shape: [bytes] });
  const split = (sizes: readonly number[], maxShardSize: number) => {
    const files = planSafetensors(
      sizes.map((bytes, i) => tensor(`${i}`, bytes)),
      { maxShardSize },
    );
    return files.map(({ parts }) => parts.flatMap((part) => (part.kind === "tensor" ? [part.key] : [])).join());
  };

  // The docstring of huggingface_hub's split_state_dict_into_shards_factory promises [6], [6, 2], …; this is what it does.
  it("fills shards in order, and gives a larger tensor one of its own without closing the current one", () => {
    expect(split([6, 6, 2, 6, 2, 2], 10)).toEqual(["0", "1,2", "3,4,5", ""]);
    expect(split([3, 11, 4, 11, 3], 10)).toEqual(["1", "3", "0,2,4", ""]);
    expect(split([5, 5], 10)).toEqual(["0,1"]);
    expect(split([5, 6], 10)).toEqual(["0", "1", ""]);
    expect(split([11], 10)).toEqual(["0"]);
    expect(split([], 10)).toEqual([""]);
  });

  it("numbers shards after the name of the single file", () => {
    const files = planSafetensors([tensor("a", 2), tensor("b", 2)], { maxShardSize: 3, singleName: "x.safetensors" });
    expect(files.map(({ name }) => name)).toEqual([
      "x-00001-of-00002.safetensors",
      "x-00002-of-00002.safetensors",
      "x.safetensors.index.json",
    ]);
  });
});

describe("refuses what the format cannot hold", () => {
  const code = (...keys: string[]) => {
    try {
      planSafetensors(keys.map((key) => ({ key, dtype: "F4", shape: [keys.length] })));
    } catch (error) {
      if (error instanceof InputError) return error.code;
    }
    return null;
  };
  it.each([
    ["SAFETENSORS_RESERVED_KEY", ["__metadata__", "b"]],
    ["SAFETENSORS_DUPLICATE_TENSOR", ["a", "a"]],
    ["SAFETENSORS_KEY_NOT_UNICODE", ["\ud800", "b"]],
    ["SAFETENSORS_SUB_BYTE_MISALIGNED", ["a"]],
    [null, ["a", "b"]],
  ])("%s", (expected, keys) => expect(code(...keys)).toBe(expected));
});

it("orders keys as UTF-8 bytes", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary" }), fc.string({ unit: "binary" }), (a, b) => {
      expect(Math.sign(compareKeys(a, b))).toBe(Buffer.compare(Buffer.from(a), Buffer.from(b)));
    }),
  );
  expect(compareKeys("\uffee", "\u{1f600}")).toBeLessThan(0);
});

it("reads back what it plans, for any keys, dtypes, shapes and metadata", () => {
  const key = fc.string({ unit: "grapheme" }).filter((text) => text !== "__metadata__");
  const tensor = fc.record({
    key,
    dtype: fc.constantFrom(...DTYPES),
    // Eight of them end at a byte in every dtype.
    shape: fc.array(fc.nat(3), { maxLength: 3 }).map((shape) => [...shape, 8]),
  });
  const tensors = fc.uniqueArray(tensor, { selector: (t) => t.key, maxLength: 8 });
  const metadata = fc.option(fc.dictionary(fc.string({ unit: "grapheme" }), fc.string({ unit: "grapheme" })));
  fc.assert(
    fc.property(tensors, metadata, (list, meta) => {
      const [file] = planSafetensors(list, { metadata: meta });
      const header = file?.parts[0];
      const bytes = header?.kind === "bytes" ? Buffer.from(header.bytes) : expect.fail();
      expect(bytes.length % 8).toBe(0);
      const entries: Record<string, unknown> = JSON.parse(bytes.subarray(8).toString());
      expect(entries.__metadata__).toEqual(meta === null ? undefined : meta);
      for (const { key: name, dtype, shape } of list) expect(entries[name]).toMatchObject({ dtype, shape });
      const data = list.reduce((sum, { dtype, shape }) => sum + (elementCount(shape) * bitsOf(dtype)) / 8, 0);
      expect(file?.byteLength).toBe(bytes.length + data);
    }),
  );
});
