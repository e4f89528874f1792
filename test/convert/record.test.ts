import { readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { adapters } from "../../adapters/registry.ts";
import { InputError } from "../../src/base/errors.ts";
import { planConversion } from "../../src/convert/plan.ts";
import { RECORD_NAME } from "../../src/formats/file-names.ts";
import { openCheckpoint } from "../../src/model/open.ts";
import { type ConversionRecord, encodeRecord, keepBytes, parseRecord } from "../../src/model/record.ts";
import { readState, writeDcp, writeSafetensors } from "../helpers/checkpoints.ts";
import { converted, hashes, sorted } from "../helpers/converted.ts";
import { fixture } from "../helpers/fixtures.ts";
import { scratch } from "../helpers/scratch.ts";

const record: ConversionRecord = {
  family: "llama3",
  from: { layout: "hf", format: "safetensors" },
  to: { layout: "torchtitan", format: "dcp" },
  safetensors: {
    files: [
      { name: "a.safetensors", metadata: { format: "pt", __proto: "x" }, keys: ["w", "ключ"], canonical: true },
      { name: "b.safetensors", metadata: null, keys: [], canonical: false, header: '{ "w": 1 }' },
    ],
    index: { name: "model.safetensors.index.json", text: '{"weight_map": {}}' },
  },
  casts: new Map([["w", "BF16"]]),
  aliases: new Map([["lm_head.weight", true]]),
  spelling: new Map([["a", "b"]]),
  order: "transposed",
  orderAt: [],
  encodings: new Map([["model.norm.weight", "fp8"]]),
  names: new Map([["w", "module.w"]]),
  dropped: [
    { key: "x", reason: "derived", dtype: "F32", shape: [1], bytes: Uint8Array.of(1, 2, 3, 255) },
    { key: "y", reason: "large", dtype: "BF16", shape: [9, 9], bytes: null },
  ],
};

const NO_TOKENIZER = expect.stringContaining("no tokenizer beside the source");

describe("a record", () => {
  it("comes back as it was written", () => {
    expect(parseRecord(encodeRecord(record), "r.json")).toEqual(record);
  });

  it.each<[string, (json: Record<string, unknown>) => unknown, string]>([
    ["no JSON", () => "{", "RECORD_MALFORMED"],
    ["a list", () => "[]", "RECORD_MALFORMED"],
    ["another version", (json) => ({ ...json, version: 2 }), "RECORD_VERSION"],
    ["no family", ({ family, ...rest }) => rest, "RECORD_MALFORMED"],
    ["a file outside the target", (json) => withFile(json, "../../x.safetensors"), "RECORD_MALFORMED"],
    ["an absolute file", (json) => withFile(json, "/etc/x"), "RECORD_MALFORMED"],
    ["a file without a name", (json) => withFile(json, ""), "RECORD_MALFORMED"],
    ["an unknown dtype", (json) => ({ ...json, casts: { w: "F128" } }), "RECORD_MALFORMED"],
    ["an unknown format", (json) => ({ ...json, to: { layout: "x", format: "gguf" } }), "RECORD_MALFORMED"],
    ["an alias that is no boolean", (json) => ({ ...json, aliases: { w: 1 } }), "RECORD_MALFORMED"],
    [
      "kept bytes of another length",
      (json) => ({ ...json, dropped: [{ key: "x", reason: "", dtype: "F32", shape: [2], base64: "AAAA" }] }),
      "RECORD_MALFORMED",
    ],
    [
      "a negative size",
      (json) => ({ ...json, dropped: [{ key: "x", reason: "", dtype: "F32", shape: [-1], base64: null }] }),
      "RECORD_MALFORMED",
    ],
  ])("is refused with %s", (_, change, code) => {
    const changed = change(JSON.parse(encodeRecord(record)));
    const text = typeof changed === "string" ? changed : JSON.stringify(changed);
    expect(() => parseRecord(text, "r.json")).toThrow(InputError);
    expect(() => parseRecord(text, "r.json")).toThrow(expect.objectContaining({ code }));
  });

  const withFile = (json: Record<string, unknown>, name: string) => ({
    ...json,
    safetensors: { files: [{ name, metadata: null, keys: [], canonical: true }], index: null },
  });

  it("keeps dropped bytes up to a limit", () => {
    const sizes = [10, 2 ** 20, 5].map((byteLength) => ({ byteLength }));
    const kept = keepBytes(sizes, ({ byteLength }, target) => target.fill(byteLength));
    expect(kept.map((bytes) => bytes?.length ?? null)).toEqual([10, null, 5]);
  });
});

describe("the way back", () => {
  const { hf, hfs, fromHf, toHf } = fixture("llama3/split");
  const sharded = hfs["hf-sharded"]!;

  const notes = (path: string): readonly string[] => {
    const source = openCheckpoint(path);
    try {
      return planConversion(source, undefined, { adapters }).notes;
    } finally {
      source.close();
    }
  };

  it("goes by the defaults without a record, and says so", async () => {
    const directory = scratch();
    const native = join(directory, "native");
    await converted(sharded, native);
    rmSync(join(native, RECORD_NAME));
    expect(notes(native)).toEqual([expect.stringContaining("no convert-checkpoint.json"), NO_TOKENIZER]);
    await converted(native, join(directory, "back"));
    expect(readdirSync(join(directory, "back"))).toContain("model.safetensors");
    expect(sorted(hashes(join(directory, "back")))).toEqual(sorted(toHf));
  });

  it("has the user's shard size come first", async () => {
    const directory = scratch();
    await converted(sharded, join(directory, "native"));
    await converted(join(directory, "native"), join(directory, "back"), { maxShardSize: 1e9 });
    expect(readdirSync(join(directory, "back"))).toContain("model.safetensors");
  });

  it("keeps the shards where dtypes changed, with sizes that are true", async () => {
    const directory = scratch();
    await converted(sharded, join(directory, "native"), { dtype: ["bf16"] });
    await converted(join(directory, "native"), join(directory, "back"));
    const back = join(directory, "back");
    const index = JSON.parse(readFileSync(join(back, "model.safetensors.index.json"), "utf8"));
    const original = JSON.parse(readFileSync(join(sharded, "model.safetensors.index.json"), "utf8"));
    expect(index.weight_map).toEqual(original.weight_map);
    expect(index.metadata.total_size).toBe(original.metadata.total_size / 2);
    expect(JSON.parse(readFileSync(join(back, "config.json"), "utf8"))).toMatchObject({ dtype: "bfloat16" });
  });

  it("gives files back that the official writer would not make", async () => {
    const directory = scratch();
    const odd = writeSafetensors(join(directory, "odd"), readState(hf), { config: join(hf, "config.json") });
    const file = join(odd, "model.safetensors");
    const bytes = readFileSync(file);
    const length = Number(bytes.readBigUInt64LE(0));
    const spaced = Buffer.from(
      `${bytes
        .subarray(8, 8 + length)
        .toString()
        .replaceAll(",", " , ")}  `,
    );
    const head = Buffer.alloc(8);
    head.writeBigUInt64LE(BigInt(spaced.length));
    writeFileSync(file, Buffer.concat([head, spaced, bytes.subarray(8 + length)]));
    await converted(odd, join(directory, "native"));
    expect(sorted(hashes(join(directory, "native")))).toEqual(sorted(fromHf));
    await converted(join(directory, "native"), join(directory, "back"));
    expect(readFileSync(join(directory, "back", "model.safetensors")).equals(readFileSync(file))).toBe(true);
  });

  it("brings a shipped alias back, and only where it was shipped", async () => {
    const tied = fixture("llama3/fused-tied");
    const state = readState(tied.hf);
    const directory = scratch();
    for (const shipped of [true, false]) {
      const source = new Map(state);
      if (shipped) source.set("lm_head.weight", state.get("model.embed_tokens.weight")!);
      const name = String(shipped);
      const hfPath = writeSafetensors(join(directory, name), source, { config: join(tied.hf, "config.json") });
      await converted(hfPath, join(directory, `${name}-native`));
      expect(hashes(join(directory, `${name}-native`)).has("lm_head.weight")).toBe(true);
      await converted(join(directory, `${name}-native`), join(directory, `${name}-back`));
      const [before, after] = [hfPath, join(directory, `${name}-back`)].map((path) =>
        readFileSync(join(path, "model.safetensors")),
      );
      expect(after!.equals(before!)).toBe(true);
    }
  });

  it("is not taken from a record of another family, and refuses a damaged one", async () => {
    const directory = scratch();
    const native = writeDcp(join(directory, "native"), readState(fixture("llama3/split").native), {
      config: join(hf, "config.json"),
    });
    writeFileSync(join(native, RECORD_NAME), encodeRecord({ ...record, family: "qwen3" }));
    expect(notes(native)).toEqual([expect.stringContaining("no convert-checkpoint.json"), NO_TOKENIZER]);
    writeFileSync(join(native, RECORD_NAME), "{}");
    expect(() => notes(native)).toThrow(expect.objectContaining({ code: "RECORD_MALFORMED" }));
  });

  it("goes by the defaults where the record tells of other tensors", async () => {
    const directory = scratch();
    const native = join(directory, "native");
    await converted(sharded, native);
    const text = readFileSync(join(native, RECORD_NAME), "utf8");
    writeFileSync(join(native, RECORD_NAME), text.replace('"model.norm.weight"', '"model.other.weight"'));
    expect(notes(native)).toEqual([expect.stringContaining("other tensors"), NO_TOKENIZER]);
    await converted(native, join(directory, "back"));
    expect(sorted(hashes(join(directory, "back")))).toEqual(sorted(toHf));
  });

  it("does not need the place where the record was written", async () => {
    const directory = scratch();
    await converted(sharded, join(directory, "native"));
    renameSync(join(directory, "native"), join(directory, "moved"));
    await converted(join(directory, "moved"), join(directory, "back"));
    expect(readdirSync(join(directory, "back")).sort()).toEqual(readdirSync(sharded).sort());
  });
});
