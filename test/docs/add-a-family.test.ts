// The walk-through is run as it is written: its blocks are the module, and upstream's files are what it must give.
import { createHash } from "node:crypto";
import { cpSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { beforeEach, describe, expect, test } from "vitest";
import { run } from "../cli/command.ts";
import { readState } from "../helpers/checkpoints.ts";
import { fixture } from "../helpers/fixtures.ts";
import { scratch } from "../helpers/scratch.ts";

const text = readFileSync(fileURLToPath(new URL("../../docs/add-a-family.md", import.meta.url)), "utf8");
const blocks = [...text.matchAll(/^```js olmo2\.mjs\n(.*?)^```$/gms)].map(([, code]) => code);
const [graph, ...moreGraphs] = [...text.matchAll(/^```js graph\.mjs\n(.*?)^```$/gms)].map(([, code]) => code!);
const olmo2 = fixture("hf_dense/olmo2");

let directory = "";
let plugin = "";

beforeEach(() => {
  directory = scratch();
  plugin = join(directory, "olmo2.mjs");
  writeFileSync(plugin, blocks.join("\n"));
});

/** The module of the page with some of its text replaced. */
function changed(name: string, ...replacements: (readonly [string, string])[]): string {
  let source = blocks.join("\n");
  for (const [from, to] of replacements) {
    expect(source.split(from)).toHaveLength(2);
    source = source.replace(from, to);
  }
  const file = join(directory, name);
  writeFileSync(file, source);
  return file;
}

const convert = async (source: string, target: string, adapter = plugin, ...more: string[]) => {
  const { code, stdout, stderr } = await run(source, target, "--adapter", adapter, "--quiet", ...more);
  return { code, output: stdout + stderr };
};

const hashes = (folder: string) =>
  Object.fromEntries(
    [...readState(folder)].map(([key, { bytes }]) => [key, createHash("sha256").update(bytes).digest("hex")]),
  );
const expected = (tensors: typeof olmo2.toHf) =>
  Object.fromEntries([...tensors].map(([key, { sha256 }]) => [key, sha256]));

test("the page holds the module", () => {
  expect(blocks.length).toBeGreaterThan(5);
});

test("the family comes before the generic one, with its config and by its keys", async () => {
  const config = ["--config", `${olmo2.hf}/config.json`];
  for (const more of [config, []]) {
    const { json } = await run("inspect", olmo2.native, "--adapter", plugin, "--json", ...more);
    expect([json.family, json.layout]).toEqual(["olmo2", "torchtitan"]);
  }
  const { json } = await run("families", "--adapter", plugin, "--json");
  expect(json.families[0]).toMatchObject({ family: "olmo2", layouts: ["hf", "torchtitan", "olmo"] });
  const { json: generic } = await run("inspect", olmo2.hf, "--adapter", plugin, "--family", "hf-dense", "--json");
  expect(generic.family).toBe("hf-dense");
});

test("upstream's own checkpoint becomes upstream's own files, and comes back", async () => {
  const [hf, native, again] = ["hf", "native", "again"].map((name) => join(directory, name));
  expect(await convert(olmo2.native, hf!, plugin, "--config", olmo2.hf)).toEqual({ code: 0, output: "" });
  expect(readFileSync(`${hf}/model.safetensors`)).toEqual(readFileSync(`${olmo2.hf}/model.safetensors`));
  expect((await convert(olmo2.hf, native!)).code).toBe(0);
  expect(hashes(native!)).toEqual(expected(olmo2.fromHf));
  expect((await convert(native!, again!)).code).toBe(0);
  expect(readFileSync(`${again}/model.safetensors`)).toEqual(readFileSync(`${olmo2.hf}/model.safetensors`));
});

describe("the fused layout", () => {
  test("is cat(q, k, v) and cat(up, gate), as AI2's conversion script takes it apart", async () => {
    const target = join(directory, "olmo.pt");
    expect((await convert(olmo2.hf, target, plugin, "--to", "olmo")).code).toBe(0);
    const hf = readState(olmo2.hf);
    const olmo = readState(target);
    const layer = "model.layers.2";
    const bytesOf = (...keys: string[]) => Buffer.concat(keys.map((key) => hf.get(`${layer}.${key}.weight`)!.bytes));
    const fused = ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"];
    expect(Buffer.from(olmo.get("transformer.blocks.2.att_proj.weight")!.bytes)).toEqual(bytesOf(...fused));
    expect(Buffer.from(olmo.get("transformer.blocks.2.ff_proj.weight")!.bytes)).toEqual(
      bytesOf("mlp.up_proj", "mlp.gate_proj"),
    );
    const back = join(directory, "from-olmo");
    expect((await convert(target, back, plugin, "--config", olmo2.hf)).code).toBe(0);
    expect(readFileSync(`${back}/model.safetensors`)).toEqual(readFileSync(`${olmo2.hf}/model.safetensors`));
  });
});

describe("mistakes", () => {
  test("two tensors of one shape exchanged: a round trip passes, the comparison with upstream's bytes does not", async () => {
    const [gate, up] = ["gate", "up"].map((name) => `model.layers.{l}.mlp.${name}_proj.weight`);
    const wrong = changed(
      "exchanged.mjs",
      [`same("${gate}", "f d")`, `rename("model.${gate}", "${up}", "f d")`],
      [`same("${up}", "f d")`, `rename("model.${up}", "${gate}", "f d")`],
    );
    expect((await run("roundtrip", olmo2.hf, "--adapter", wrong, "--quiet")).code).toBe(0);
    const target = join(directory, "exchanged");
    expect((await convert(olmo2.native, target, wrong, "--config", olmo2.hf)).code).toBe(0);
    const differing = Object.entries(hashes(target)).filter(([key, hash]) => olmo2.toHf.get(key)?.sha256 !== hash);
    expect(differing.map(([key]) => key.replace(/\d+/, "#")).toSorted()).toEqual(
      ["gate", "up"].flatMap((name) => Array(3).fill(`model.layers.#.mlp.${name}_proj.weight`)),
    );
  });

  const qNorm = 'same("model.layers.{l}.self_attn.q_norm.weight", "(n H)")';
  const norm = 'same("model.norm.weight", "d")';
  test.each([
    [`${qNorm},`, "", "UNKNOWN_TENSOR"],
    [qNorm, qNorm.replace("(n H)", "H"), "SHAPE_MISMATCH"],
    [norm, 'same("model.final.weight", "d")', "MISSING_TENSOR"],
    [norm, norm.replace('"d"', '"dd"'), "TABLE_INVALID"],
    [norm, `${norm}, ${norm}`, "TABLE_INVALID"],
  ])("%s → %s: %s", async (from, to, code) => {
    const wrong = changed("wrong.mjs", [from, to]);
    const { json, code: exit } = await run("plan", olmo2.hf, "--adapter", wrong, "--json");
    expect([exit, json.error.code]).toEqual([3, code]);
  });

  test.each([
    ['config.number("rms_norm_eps", 1e-5)', "config.nothing()", "open"],
    ["({\n  l: c.nLayers", "({\n  l: c.layers.length", "axes"],
    ["const { rename } = kit;", "const { rename } = kit.rules;", "rules"],
  ])("in its code, %s → %s: the module and its %s() are named", async (from, to, method) => {
    const wrong = changed("wrong.mjs", [from, to]);
    const { json, code } = await run("plan", olmo2.hf, "--adapter", wrong, "--json");
    expect([code, json.error.code, json.error.file]).toEqual([3, "ADAPTER_FAILED", wrong]);
    expect(json.error.message).toContain(`its ${method}() failed: TypeError`);
  });

  test("a frozen object of a class is an adapter too", async () => {
    const file = join(directory, "class.mjs");
    const lists = ["modelTypes", "flavours", "modalities", "probes", "sources"];
    const layouts = 'hf = { name: "hf" }; layouts = [{ name: "theirs", trainer: "them" }]';
    const fields = ['family = "tiny"', layouts, ...lists.map((name) => `${name} = []`)];
    const source = `class Tiny { ${fields.join("; ")}; open() { throw new Error("shut"); } }`;
    writeFileSync(file, `${source}\nexport default Object.freeze(new Tiny());`);
    expect((await run("families", "--adapter", file, "--json")).json.families[0].family).toBe("tiny");
    const { json } = await run("plan", olmo2.hf, "--adapter", file, "--family", "tiny", "--layout", "hf", "--json");
    expect(json.error).toMatchObject({ code: "ADAPTER_FAILED", message: expect.stringContaining("shut") });
  });

  test.each([
    ["    parse: readConfig,\n", "", '"parse" is missing, a function'],
    ["    hf: { graph },\n", "    hf: {},\n", '"hf.graph" has to be a function, or { none: "why there is no graph" }'],
    [" rules: olmoRules,", "", '"layouts.1.rules" is missing, a function'],
    ['trainer: "OLMo"', "trainer: 2", '"layouts.1.trainer" has to be a text'],
  ])("in the description of the family, %s → %s: the field is named", async (from, to, message) => {
    const wrong = changed("wrong.mjs", [from, to]);
    const { json, code } = await run("families", "--adapter", wrong, "--json");
    expect([code, json.error.code, json.error.file]).toEqual([3, "ADAPTER_INVALID", wrong]);
    expect(json.error.message).toContain(`in the description of family "olmo2", ${message}`);
  });

  test("in the config: the field is named, as of a built-in family", async () => {
    const folder = join(directory, "biased");
    cpSync(olmo2.hf, folder, { recursive: true });
    const config = JSON.parse(readFileSync(`${folder}/config.json`, "utf8"));
    writeFileSync(`${folder}/config.json`, JSON.stringify({ ...config, attention_bias: true }));
    const { json, code } = await run("plan", folder, "--adapter", plugin, "--json");
    expect([code, json.error.code]).toEqual([3, "CONFIG_UNSUPPORTED"]);
    expect(json.error.message).toContain('"attention_bias" is true');
  });
});

/** The module with the page's graph, in which some text is replaced. */
function withGraph(name: string, ...replacements: (readonly [string, string])[]): string {
  const file = changed(name, ["    hf: { graph },\n", "    hf: { graph: hfForward },\n"]);
  const edited = replacements.reduce((code, [from, to]) => {
    expect(code.split(from)).toHaveLength(2);
    return code.replace(from, to);
  }, graph!);
  writeFileSync(file, `${readFileSync(file, "utf8")}\n${edited}`);
  return file;
}

test("the graph computes the logits of transformers; with its two norms exchanged it does not", async () => {
  expect(moreGraphs).toEqual([]);
  const golden = join(olmo2.hf, "..", "golden.safetensors");
  const parity = (adapter: string) =>
    run("parity", olmo2.hf, "--golden", golden, "--backend", "cpu", "--json", "--adapter", adapter);
  const right = await parity(withGraph("graph.mjs"));
  expect([right.code, right.json.verdict]).toEqual([0, "pass"]);
  expect(right.json.metrics.klMeanNats).toBeLessThan(1e-13);
  const exchanged = withGraph(
    "wrong.mjs",
    ["post_attention_layernorm", "norm_after_mlp"],
    ["post_feedforward_layernorm", "post_attention_layernorm"],
    ["norm_after_mlp", "post_feedforward_layernorm"],
  );
  const wrong = await parity(exchanged);
  expect([wrong.code, wrong.json.verdict]).toEqual([1, "fail"]);
});

test("a config that the graph does not compute is refused; so is a side without a graph", async () => {
  const parity = async (...args: string[]) => {
    const { code, json } = await run("parity", ...args, "--backend", "cpu", "--json");
    return [code, json.error.code];
  };
  const golden = ["--golden", join(olmo2.hf, "..", "golden.safetensors")];
  const refusing = withGraph("gelu.mjs", ['activation !== "silu"', 'activation === "silu"']);
  expect(await parity(olmo2.hf, ...golden, "--adapter", refusing)).toEqual([3, "NO_GRAPH"]);
  const sides = [olmo2.native, olmo2.hf, "--config", olmo2.hf];
  expect(await parity(...sides, "--adapter", withGraph("graph.mjs"))).toEqual([3, "NO_GRAPH"]);
});
