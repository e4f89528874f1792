// One seal recognises a model in every layout and container, and is the same whatever it was made from.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Ajv2020 } from "ajv/dist/2020.js";
import { describe, expect, test } from "vitest";
import { encodeSeal, parseSeal } from "../../../src/verify/identity/seal-file.ts";
import { f32, readState, writeSafetensors } from "../../helpers/checkpoints.ts";
import { converted } from "../../helpers/converted.ts";
import { encodedCases, FIXTURES, fixture, tableCases } from "../../helpers/fixtures.ts";
import { scratch } from "../../helpers/scratch.ts";
import { matched, sealedAt, sealOf, told } from "./helpers.ts";

describe.each([...tableCases, ...encodedCases])("$name", ({ natives, hfs, hf }) => {
  test("one seal for all of its files", async () => {
    const seal = await sealOf(hf);
    expect(seal.tensors.length).toBeGreaterThan(0);
    for (const path of [...Object.values(natives), ...Object.values(hfs)]) {
      const result = await matched(path, seal);
      expect(told(result), path).toEqual([]);
      expect(result).toMatchObject({ verdict: "pass", root: seal.root, expectedRoot: seal.root });
      expect(result.config.differences ?? []).toEqual([]);
    }
  });
});

describe("a model in other files", () => {
  const { hf } = fixture("llama3/fused-tied");
  test.each([
    ["DCP of 4 ranks", "dcp", { ranks: 4 }],
    ["shards", "shards", { to: "raw", maxShardSize: 8_000, format: "safetensors" }],
    ["one file of torch", "model.pt", { to: "raw" }],
    ["vLLM's", "vllm", { to: "vllm" }],
  ] as const)("%s", async (_, name, options) => {
    const target = join(scratch(), name);
    await converted(hf, target, options);
    const result = await matched(target, await sealOf(hf), { config: hf });
    expect(told(result)).toEqual([]);
    expect(result.verdict).toBe("pass");
  });

  test("Meta's files, of 4 ranks", async () => {
    const meta = `${FIXTURES}meta/llama3`;
    const target = join(scratch(), "hf");
    await converted(meta, target);
    const seal = await sealOf(meta);
    for (const path of [target, meta]) expect(await matched(path, seal)).toMatchObject({ verdict: "pass" });
  });

  test("an alias that is stored is no difference, in either direction, and a broken one is", async () => {
    const state = readState(hf);
    state.set("lm_head.weight", state.get("model.embed_tokens.weight")!);
    const config = join(hf, "config.json");
    const stored = writeSafetensors(join(scratch(), "stored"), state, { config });
    const [seal, other] = [await sealOf(hf), await sealOf(stored)];
    expect(other.root).toBe(seal.root);
    expect(encodeSeal(other)).toBe(encodeSeal(seal));
    const untied = join(scratch(), "untied");
    writeSafetensors(untied, state, { config });
    const json = JSON.parse(readFileSync(config, "utf8"));
    writeFileSync(join(untied, "config.json"), JSON.stringify({ ...json, tie_word_embeddings: false }));
    expect(await matched(untied, seal)).toMatchObject({ verdict: "pass", root: seal.root });
    expect(await matched(hf, await sealOf(untied))).toMatchObject({ verdict: "pass" });
    state.set(
      "lm_head.weight",
      f32(state.get("lm_head.weight")!.shape, (i) => i),
    );
    const broken = writeSafetensors(join(scratch(), "broken"), state, { config });
    const result = await matched(broken, seal);
    expect(told(result)).toEqual(["lm_head.weight: tie"]);
    expect(result.root).not.toBe(seal.root);
    await expect(sealOf(broken)).rejects.toThrow(/should equal/);
  });

  test("two spellings of a config are one", async () => {
    const { hfs } = fixture("qwen3/yarn");
    const [first, ...others] = await Promise.all(Object.values(hfs).map((path) => sealOf(path)));
    expect(others).toHaveLength(1);
    expect(others[0]?.config?.sha256).toBe(first?.config?.sha256);
  });

  test("of an unknown family it goes by the names of the files, and says so", async () => {
    const state = new Map([["a.weight", f32([2], (i) => i)]]);
    const path = writeSafetensors(join(scratch(), "unknown"), state);
    const { seal, notes } = await sealedAt(path);
    expect(seal).toMatchObject({ view: "raw", family: null, config: null });
    expect(notes[0]).toContain("no known family");
    const target = join(scratch(), "dcp");
    await converted(path, target, { to: "raw", format: "dcp" });
    const result = await matched(target, seal);
    expect(result).toMatchObject({ verdict: "pass", config: { differences: null } });
    await expect(matched(path, await sealOf(hf))).rejects.toMatchObject({ code: "UNKNOWN_FAMILY" });
    expect((await matched(hf, seal)).verdict).toBe("fail");
  });
});

describe("the root", () => {
  const { folders }: { folders: Readonly<Record<string, string>> } = JSON.parse(
    readFileSync(`${FIXTURES}seal/roots.json`, "utf8"),
  );
  test.each(Object.entries(folders))("of %s is what Python makes of its files", async (folder, root) => {
    expect((await sealOf(`${FIXTURES}${folder}`)).root).toBe(root);
  });
});

describe("the file", () => {
  test("is as its schema says, and other documents are not", async () => {
    const schema: object = JSON.parse(
      readFileSync(new URL("../../../docs/schema/seal.schema.json", import.meta.url), "utf8"),
    );
    const isValid = new Ajv2020({ strict: true, strictTypes: false, allErrors: true }).compile(schema);
    for (const { hf } of [fixture("llama3/fused-tied"), ...encodedCases]) {
      const json = JSON.parse(encodeSeal((await sealedAt(hf)).seal));
      isValid(json);
      expect(isValid.errors).toBeNull();
      expect(json.$schema).toBe("$id" in schema && schema.$id);
      expect(isValid({ ...json, root: "abc" })).toBe(false);
      expect(isValid({ ...json, version: 2 })).toBe(false);
      expect(isValid({ ...json, tensors: [{ ...json.tensors[0], shape: [-1] }] })).toBe(false);
      expect(isValid({ ...json, tensors: [{ ...json.tensors[0], dtype: "F31" }] })).toBe(false);
    }
  });

  test("is the same whenever it is written, and comes back as it was", async () => {
    const { hf, native } = fixture("llama3/split");
    const { seal } = await sealedAt(hf);
    expect(parseSeal(encodeSeal(seal), "x")).toEqual(seal);
    expect(encodeSeal((await sealedAt(hf)).seal)).toBe(encodeSeal(seal));
    expect(encodeSeal((await sealedAt(native, { config: hf })).seal)).toBe(encodeSeal(seal));
  });

  test.each<[string, string, (text: string) => string]>([
    ["no JSON", "SEAL_MALFORMED", (text) => text.slice(0, -4)],
    ["no seal", "SEAL_MALFORMED", () => "{}"],
    ["a newer one", "SEAL_VERSION", (text) => text.replace('"version": 1', '"version": 2')],
    ["a hash that is none", "SEAL_MALFORMED", (text) => text.replace(/"sha256":"...../, '"sha256":"')],
    ["an edited tensor", "SEAL_MALFORMED", (text) => text.replace('"name":"lm_head', '"name":"lm_heat')],
    ["an edited config", "SEAL_MALFORMED", (text) => text.replace('"nLayers":2', '"nLayers":3')],
    ["a tensor twice", "SEAL_MALFORMED", (text) => text.replace(/\n( {2}\{"name":"lm_head.*)\n/, "\n$1\n$1\n")],
  ])("%s is refused", async (_, code, change) => {
    const text = encodeSeal((await sealedAt(fixture("llama3/split").hf)).seal);
    expect(change(text)).not.toBe(text);
    expect(() => parseSeal(change(text), "x.json")).toThrow(expect.objectContaining({ code }));
  });
});
