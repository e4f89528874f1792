// config.json of an HF target whose weights have another type than it declares.
import { cpSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it, test } from "vitest";
import { declareDtype } from "../../src/convert/hf-config.ts";
import { converted } from "../helpers/converted.ts";
import { FIXTURES } from "../helpers/fixtures.ts";
import { scratch } from "../helpers/scratch.ts";

const textOf = (text: string, name: string): string => declareDtype(text, name)?.text ?? text;

describe("the declared type", () => {
  test("of a tower that is kept in F32 stays, and so do nested fields of that name", () => {
    const config = (dtype: string) => `{
  "dtype": "${dtype}",
  "text_config": {"dtype": "${dtype}", "rope_parameters": {"dtype": "float32"}},
  "vision_config": {"dtype": "float32", "inner": {"dtype": "float32"}},
  "extra": [{"dtype": "float32"}],
  "note": "\\"dtype\\": \\"float32\\""
}`;
    expect(textOf(config("float32"), "bfloat16")).toBe(config("bfloat16"));
    expect(textOf(config("bfloat16"), "float16")).toBe(config("float16"));
  });

  test.each([
    ["bfloat16", "float32"],
    ["bfloat16", "float16"],
    ["float16", "bfloat16"],
    ["float32", "float64"],
  ])("of a tower that would round its weights follows: %s, weights in %s", (before, name) => {
    const config = (dtype: string) => `{"dtype": "${dtype}", "vision_config": {"torch_dtype": "${dtype}"}}`;
    expect(textOf(config(before), name)).toBe(config(name));
  });

  test.each([
    ["as dtype and as torch_dtype", '{"torch_dtype": "float32", "x": 1, "dtype": "float32"}'],
    ["with CRLF and tabs", '{\r\n\t"a": 1.0,\r\n\t"dtype"\t:\t"float32"\r\n}\r\n'],
    ["with odd indentation and long numbers", '{\n   "eps" :1e-06 ,\n "dtype":\n\n"float32"  , "theta": 10000.0}'],
    ["twice, of which JSON takes the last", '{"dtype": "float32", "dtype": "float32"}'],
    ["with escapes around it", '{"\\u0061": "}\\"{", "d\\u0074ype": "float32", "ü": "\\ud83d"}'],
    ["in text_config alone", '{"text_config": {"torch_dtype": "float32"}, "dtype": null}'],
  ])("%s: its value alone changes", (_, text) => {
    expect(textOf(text, "bfloat16")).toBe(text.replaceAll('"float32"', '"bfloat16"'));
    expect(declareDtype(text, "bfloat16")?.before).toBe("float32");
    expect(declareDtype(text, "float32")).toBeNull();
  });

  test.each(['{"model_type": "x"}', '{"dtype": null}', '{"dtype": 3}', '{"x": {"dtype": "float32"}}'])(
    "%s declares none",
    (text) => {
      expect(declareDtype(text, "bfloat16")).toBeNull();
    },
  );
});

describe("a model that sees, whose config declares F32 in three places", () => {
  const hf = `${FIXTURES}qwen3_vl/tied/hf`;
  const config = readFileSync(`${hf}/config.json`, "utf8");
  const written = (target: string) => readFileSync(join(target, "config.json"), "utf8");

  it("in BF16: the text model is declared so, the tower keeps its F32", async () => {
    const source = join(scratch(), "source");
    const target = join(scratch(), "out");
    cpSync(hf, source, { recursive: true });
    const ofWindows = config.replaceAll("\n", "\r\n");
    writeFileSync(join(source, "config.json"), ofWindows);
    const { notes } = await converted(source, target, { to: "hf", dtype: ["bf16"] });
    const [model, tower] = ofWindows.split(/(?="vision_config")/);
    expect(model!.match(/"dtype": "float32"/g)).toHaveLength(2);
    expect(tower!.match(/"dtype": "float32"/g)).toHaveLength(1);
    expect(written(target)).toBe(model!.replaceAll('"dtype": "float32"', '"dtype": "bfloat16"') + tower);
    expect(notes).toContain("config.json declares bfloat16, as the weights are, instead of float32");
  });

  it("with a tower in F32 beside a text model in BF16 stays as it is", async () => {
    const target = join(scratch(), "out");
    await converted(hf, target, { to: "hf", dtype: ["bf16", "model.visual.*=keep"] });
    expect(written(target)).toBe(config);
  });
});
