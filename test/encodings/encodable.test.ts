// Which tensors `--encoding` encodes: what each family says, or what a family is taken to have that says nothing.
import { describe, expect, test } from "vitest";
import { encodableTensors, isEncodable, newQuantisation } from "../../src/encodings/quantisation.ts";
import type { EncodingName } from "../../src/family/encodable.ts";
import { fixtureCases } from "../helpers/fixtures.ts";
import { familyOf } from "../helpers/models.ts";

const encoded = (name: EncodingName, keys: Iterable<string>, entry: (typeof fixtureCases)[number]) => {
  const tensors = encodableTensors(name, familyOf(entry).encodable);
  return [...keys].filter((key) => tensors !== null && isEncodable(tensors, key, newQuantisation(name, undefined)));
};

/** Linear weights but for what joins the inputs of MTP, and stacked experts: of these files exist, or would be alike. */
const EXPECTED: Readonly<Record<EncodingName, (key: string) => boolean>> = {
  fp8: (key) =>
    /_proj(?:_with_mqa)?\.weight$|\.experts\.\d+\.w[123]\.weight$/.test(key) && !/\beh_proj\.weight$/.test(key),
  mxfp4: (key) => /\.mlp\.experts\.(?:gate_up|down)_proj$/.test(key),
};

describe.each(["fp8", "mxfp4"] as const)("%s", (name) => {
  test.each(fixtureCases.map((entry) => [entry.name, entry] as const))("%s", (_, entry) => {
    const keys = [...entry.toHf.keys()];
    expect(encoded(name, keys, entry)).toEqual(keys.filter(EXPECTED[name]));
  });

  test("takes tensors of some fixture", () => {
    expect(fixtureCases.flatMap((entry) => encoded(name, entry.toHf.keys(), entry)).length).toBeGreaterThan(10);
  });
});

test("a family that says nothing has FP8 on its projections, and nothing in MXFP4", () => {
  expect(encodableTensors("fp8", undefined)).toEqual({ keys: ["_proj.weight"] });
  expect(encodableTensors("mxfp4", undefined)).toBeNull();
  const own = { fp8: { keys: [".wq"] } };
  expect(encodableTensors("fp8", own)).toBe(own.fp8);
  expect(encodableTensors("mxfp4", own)).toBeNull();
});

test("what modules_to_not_convert names stays plain", () => {
  const quantisation = newQuantisation("fp8", ["layers.*.attn"]);
  expect(quantisation).toMatchObject({ modules_to_not_convert: ["layers.*.attn"], quant_method: "fp8" });
  const fits = (key: string) => isEncodable({ keys: [".w"] }, key, quantisation);
  expect([fits("model.layers.0.attn.w"), fits("model.layers.0.mlp.w"), fits("model.layers.0.mlp.v")]).toEqual([
    false,
    true,
    false,
  ]);
});
