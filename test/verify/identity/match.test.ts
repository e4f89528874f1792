// What is not the model of a seal is refused, and its tensors and fields are named.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { hashOfFields } from "../../../src/family/mathematics.ts";
import { f32, flipped, readState, type State, writeSafetensors } from "../../helpers/checkpoints.ts";
import { converted } from "../../helpers/converted.ts";
import { encodedCases, fixture } from "../../helpers/fixtures.ts";
import { scratch } from "../../helpers/scratch.ts";
import { matched, sealOf, told } from "./helpers.ts";

const { hf } = fixture("llama3/split");
const config = join(hf, "config.json");
const key = "model.layers.1.self_attn.k_proj.weight";

function changed(change: (state: State) => void, from = hf): string {
  const state = readState(from);
  change(state);
  return writeSafetensors(join(scratch(), "changed"), state, { config: join(from, "config.json") });
}

const swap = (state: State, a: string, b: string): void => {
  const [x, y] = [state.get(a)!, state.get(b)!];
  state.set(a, y).set(b, x);
};

describe("a mutant is named", () => {
  test.each<[string, (state: State) => void, string[]]>([
    ["one bit", (state) => state.set(key, flipped(state.get(key)!, 400)), [`${key}: values`]],
    ["missing", (state) => state.delete(key), [`${key}: missing`]],
    [
      "extra",
      (state) =>
        state.set(
          "model.more",
          f32([2], () => 1),
        ),
      ["model.more: extra"],
    ],
    [
      "exchanged",
      (state) => swap(state, "model.layers.0.mlp.gate_proj.weight", "model.layers.0.mlp.up_proj.weight"),
      ["model.layers.0.mlp.gate_proj.weight: values", "model.layers.0.mlp.up_proj.weight: values"],
    ],
    ["another shape", (state) => state.set(key, { ...state.get(key)!, shape: [54, 20] }), [`${key}: shape`]],
  ])("%s, by itself and after a conversion that carries it", async (_, change, expected) => {
    const seal = await sealOf(hf);
    const mutant = changed(change);
    const result = await matched(mutant, seal);
    expect(result.verdict).toBe("fail");
    expect(told(result)).toEqual(expected);
    expect(result.root).not.toBe(seal.root);
    if (!expected.every((words) => words.endsWith(": values"))) return;
    const native = join(scratch(), "native");
    await converted(mutant, native);
    expect(told(await matched(native, seal))).toEqual(expected);
  });

  test.each<[Readonly<Record<string, unknown>>, string]>([
    [{ rms_norm_eps: 3e-5 }, "rms_norm_eps"],
    [{ rope_parameters: { rope_type: "default", rope_theta: 500000 } }, "rope_parameters.rope_theta"],
  ])("a config with %j, by its fields", async (change, field) => {
    const mutant = changed(() => undefined);
    const json: object = JSON.parse(readFileSync(config, "utf8"));
    writeFileSync(join(mutant, "config.json"), JSON.stringify({ ...json, ...change }));
    const result = await matched(mutant, await sealOf(hf));
    expect(result.verdict).toBe("fail");
    expect(result.differences).toEqual([]);
    expect(result.config.differences?.map((each) => each.field)).toEqual([field]);
    expect(result.checks.find(({ name }) => name.startsWith("the config"))?.status).toBe("failed");
  });
});

test("a seal of a version that knew another field of the config: both configs are read by this one", async () => {
  const seal = await sealOf(hf);
  const mathematics = { ...seal.config!.mathematics, of_another_version: [1, 2] };
  const fields = new Map(Object.entries(mathematics).map(([field, value]) => [field, JSON.stringify(value)]));
  const older = { ...seal, config: { ...seal.config!, mathematics, sha256: hashOfFields(seal.family!, fields) } };
  const said = expect.stringContaining("made by another version of this tool");
  const same = await matched(hf, older);
  expect(same).toMatchObject({ verdict: "pass", config: { differences: [] }, notes: expect.arrayContaining([said]) });
  expect((await matched(hf, seal)).notes).not.toContainEqual(said);
  const other = { ...older.config, json: { ...older.config.json, rms_norm_eps: 3e-5 } };
  const result = await matched(hf, { ...older, config: other });
  expect(result.config.differences?.map(({ field }) => field)).toEqual(["rms_norm_eps"]);
  expect(result.notes).not.toContainEqual(said);
});

describe("a cast", () => {
  test("of the sealed model is another: what it is of is said by its record alone", async () => {
    const seal = await sealOf(hf);
    const bf16 = join(scratch(), "bf16");
    await converted(hf, bf16, { dtype: ["bf16"] });
    const result = await matched(bf16, seal);
    expect(result.verdict).toBe("fail");
    expect(new Set(result.differences.map(({ kind }) => kind))).toEqual(new Set(["dtype"]));
    expect(result.differences[0]?.detail).toContain("cannot be told from hashes");
  });

  test("to the seal's type is told bit by bit where the checkpoint is the wider one", async () => {
    const bf16 = join(scratch(), "bf16");
    await converted(hf, bf16, { dtype: ["bf16"], to: "hf", format: "safetensors" });
    const result = await matched(hf, await sealOf(bf16));
    expect(result.differences.every(({ detail }) => detail.includes("it is that of the seal, bit for bit"))).toBe(true);
    const other = changed((state) =>
      state.set(
        key,
        f32(state.get(key)!.shape, (i) => 1 / (i + 3)),
      ),
    );
    const found = told(await matched(other, await sealOf(bf16)));
    expect(found.filter((words) => words.endsWith("values"))).toEqual([`${key}: values`]);
  });
});

describe.each(encodedCases)("$name", ({ hf: encoded }) => {
  test("is recognised decoded, in the declared type and, where all is in codes, with all digits", async () => {
    const seal = await sealOf(encoded);
    expect(seal.encoded?.tensors.length).toBeGreaterThan(1);
    const native = join(scratch(), "native");
    await converted(encoded, native);
    const result = await matched(native, seal);
    expect(result).toMatchObject({ verdict: "pass", root: seal.root });
    expect(result.checks.find(({ name }) => name === "same codes and scales")?.status).toBe("not checked");
    const back = join(scratch(), "back");
    await converted(native, back);
    const again = await matched(back, seal);
    expect(again.checks.find(({ name }) => name === "same codes and scales")?.status).toBe("passed");
    const wide = join(scratch(), "wide");
    const codes = new Set(seal.tensors.filter(({ exact }) => exact !== undefined).map(({ name }) => name));
    await converted(encoded, wide, { dtype: [...codes].map((name) => `${name}=f32`) });
    expect(told(await matched(wide, seal))).toEqual([]);
  });

  test("other scales are other codes, and other values where they show", async () => {
    const seal = await sealOf(encoded);
    const scales = seal.encoded!.tensors.find(({ name }) => /scale/.test(name))!.name;
    const mutant = changed((state) => state.set(scales, flipped(state.get(scales)!, 2)), encoded);
    const found = told(await matched(mutant, seal));
    expect(found).toContain(`${scales}: encoding`);
    expect(found.some((words) => words.endsWith(": values"))).toBe(true);
  });
});
