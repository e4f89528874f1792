// The catalogue of ways to make a fault: each does what it tells, where it tells, and nothing else.
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { bytesOf } from "../../src/faults/edit.ts";
import type { Sample } from "../../src/faults/fault.ts";
import { valueAt } from "../../src/faults/kinds/config/field.ts";
import { KINDS } from "../../src/faults/kinds/registry.ts";
import { asHf } from "../../src/views/as-hf.ts";
import { fixtureCase, hfSide } from "../helpers/models.ts";

/** With these, every kind has a place in one of them. */
const MODELS = [
  "llama3/rope-scaled",
  "llama3/fused-tied",
  "llama3/biased",
  "qwen3_moe/untied",
  "llama4/split",
  "gpt_oss/mxfp4",
  "gpt_oss/bf16",
  "deepseek_v3/fp8",
  "deepseek_v3/mtp",
  "qwen3_5_moe/vision",
  "qwen3_vl/tied",
  "kimi_k2_7/images",
  "muse_glimmer/images-bf16",
  ...["gemma2-tied-bf16", "granite-tied", "ministral3-bf16", "minicpm3-tied-bf16", "phi-bf16", "olmo-bf16"].map(
    (name) => `hf_dense/${name}`,
  ),
  ...["mistral-bf16", "phi3-longrope-bf16", "stablelm-bf16"].map((name) => `hf_dense/${name}`),
];

const samples = MODELS.map((name): { readonly name: string; readonly good: Sample } => ({
  name,
  good: {
    source: asHf(hfSide(name), { mixedDtypes: true }).source,
    config: JSON.parse(readFileSync(`${fixtureCase(name).hf}/config.json`, "utf8")),
  },
}));

test("it is as large as it says: kinds that no header shows, of the config, and controls", () => {
  const faults = KINDS.filter(({ code }) => code !== null);
  expect(faults.length).toBeGreaterThanOrEqual(60);
  expect(faults.filter(({ keepsShapes }) => keepsShapes).length).toBeGreaterThan(faults.length / 2);
  expect(faults.filter(({ code }) => code === "CONFIG_DIFFERS").length).toBeGreaterThanOrEqual(20);
  expect(KINDS.filter(({ code }) => code === null).length).toBeGreaterThanOrEqual(10);
});

/** Bytes and header of a tensor; null where there is none. */
function stateOf({ source }: Sample, key: string): string | null {
  const info = source.tensors.get(key);
  return info === undefined
    ? null
    : `${info.dtype} ${info.shape} ${Buffer.from(bytesOf(source, key)).toString("latin1")}`;
}

const header = ({ source }: Sample): string[] =>
  [...source.tensors.values()].map(({ key, dtype, shape }) => `${key} ${dtype} ${shape}`).toSorted();

describe.each(KINDS.map((kind) => [kind.name, kind] as const))("%s", (_, kind) => {
  const found = samples.flatMap(({ name, good }) => {
    const places = kind.places(good);
    return places.length === 0 ? [] : [{ name, good, place: places.at(-1)! }];
  });

  test("has a place in some model", () => expect(found.length).toBeGreaterThan(0));

  test("changes what it tells, and keeps shapes where it says so", () => {
    const { good, place } = found[0]!;
    const [bad, again] = [kind.make(good, place, 1), kind.make(good, place, 1)];
    expect(bad.tensors.length + bad.fields.length).toBeGreaterThan(0);
    for (const path of bad.fields) expect(valueAt(bad.config, path), path).not.toEqual(valueAt(good.config, path));
    expect(bad.tensors.filter((key) => stateOf(bad, key) === stateOf(good, key))).toEqual([]);
    expect(bad.tensors.every((key) => stateOf(bad, key) === stateOf(again, key))).toBe(true);
    if (kind.keepsShapes) expect(header(bad)).toEqual(header(good));
    else expect(header(bad)).not.toEqual(header(good));
  });
});
