// What is written of a config: as transformers reads it, and no byte changed without need.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { parseJson } from "../../../src/base/json.ts";
import { type ConfigFile, readConfig } from "../../../src/model/configs/config-files.ts";
import { configText, fileWithQuantisation } from "../../../src/model/configs/config-text.ts";
import { converted } from "../../helpers/converted.ts";
import { FIXTURES } from "../../helpers/fixtures.ts";
import { scratch } from "../../helpers/scratch.ts";

const MXFP4 = `${FIXTURES}gpt_oss/mxfp4/hf`;
const DECLARED = /^ {2}"quantization_config": \{\n(?: {4,}.*\n)* {2}\},\n/m;

test("MXFP4 written plain: the config is the source's own but for quantization_config", async () => {
  const [config, target] = [readConfig(MXFP4), join(scratch(), "out")];
  // transformers refuses a model whose swiglu_limit is 7.
  expect(config.text).toContain('"swiglu_limit": 7.0,');
  expect(config.text).toMatch(DECLARED);
  const { notes } = await converted(MXFP4, target, { to: "hf", encoding: "none" });
  expect(readConfig(target).text).toBe(config.text.replace(DECLARED, ""));
  expect(notes).toContain("config.json has no quantization_config: the weights are written plain");
});

const fileOf = (text: string): ConfigFile => {
  const path = join(scratch(), "config.json");
  writeFileSync(path, text);
  return readConfig(path);
};

test.each([
  ["at the end", '{\n\t"x": 1.0,\n\t"quantization_config": {"a": [1, {"b": "}"}]}\n}\n', '{\n\t"x": 1.0\n}\n'],
  ["in one line", '{"quantization_config": {"a": 1}, "x": 1e-05}', '{"x": 1e-05}'],
  [
    "within",
    '{"text_config": {"x": 2.0, "quantization_config": {}}, "y": 1e999}',
    '{"text_config": {"x": 2.0}, "y": 1e999}',
  ],
])("what stands %s is taken out alone", (_, text, expected) => {
  expect(fileWithQuantisation(fileOf(text), null).text).toBe(expected);
});

test("another one takes its place", () => {
  const text = '{\n  "text_config": {\n    "x": 2.0,\n    "quantization_config": {"quant_method": "mxfp4"}\n  }\n}\n';
  const told = fileWithQuantisation(fileOf(text), { quant_method: "fp8" });
  expect(told.json).toEqual({ text_config: { x: 2, quantization_config: { quant_method: "fp8" } } });
  expect(parseJson(told.text)).toEqual(told.json);
  expect(told.text).toContain('"x": 2.0,');
});

test("of a field that is there twice, JSON takes the last: no edit can say what is meant", () => {
  const text = '{"quantization_config": {"a": 1}, "rms_norm_eps": 1.0, "quantization_config": {"b": 1}}';
  expect(fileWithQuantisation(fileOf(text), null).text).toBe('{\n  "rms_norm_eps": 1.0\n}\n');
});

test("fields that transformers declares as floats have a decimal point", () => {
  const json = { rms_norm_eps: 1, x: '"routed_scaling_factor": 1', routed_scaling_factor: -2, num_layers: 3 };
  const nested = { swiglu_limit: 7, norm_eps: 0.5, initializer_range: 1e-7, n: [1, 2] };
  const text = configText({ ...json, nested });
  expect(parseJson(text)).toEqual({ ...json, nested });
  expect(text.match(/.*\d\.0.*/g)).toEqual([
    '  "rms_norm_eps": 1.0,',
    '  "routed_scaling_factor": -2.0,',
    '    "swiglu_limit": 7.0,',
  ]);
});
