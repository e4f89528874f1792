// The page's table and row, put into the module of add-a-family: that is all a layout takes.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { beforeEach, expect, test } from "vitest";
import { run } from "../cli/command.ts";
import { readState } from "../helpers/checkpoints.ts";
import { fixture } from "../helpers/fixtures.ts";
import { scratch } from "../helpers/scratch.ts";

const page = (name: string) => readFileSync(fileURLToPath(new URL(`../../docs/${name}`, import.meta.url)), "utf8");
const blocks = (text: string, name: string): string[] =>
  [...text.matchAll(new RegExp(`^\`\`\`js ${name}\\n(.*?)^\`\`\`$`, "gms"))].map(([, code]) => code!);

const family = blocks(page("add-a-family.md"), "olmo2\\.mjs").join("\n");
const [table, ...moreTables] = blocks(page("add-a-layout.md"), "vllm\\.mjs");
const [row, ...moreRows] = blocks(page("add-a-layout.md"), "row");
const LAST = "rules: olmoRules, graph },\n";
const olmo2 = fixture("hf_dense/olmo2");

let directory = "";

beforeEach(() => {
  directory = scratch();
});

/** The family with the layout, and with some of its text replaced. */
function plugin(...[from, to]: [string, string] | []): string {
  const whole = `${family.replace(LAST, `${LAST}${row}`)}\n${table}`;
  const file = join(directory, "olmo2.mjs");
  if (from !== undefined) expect(whole.split(from)).toHaveLength(2);
  writeFileSync(file, from === undefined ? whole : whole.replace(from, to!));
  return file;
}

const bytesOf = (folder: string, ...keys: string[]): Buffer => {
  const state = readState(folder);
  return Buffer.concat(keys.map((key) => state.get(`model.layers.2.${key}.weight`)!.bytes));
};
const QKV = ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"];
/** Of the layout alone: the family has the same dims for AI2's layout. */
const SPLIT = `parts("self_attn", ["q", "k", "v"]), "(q: n H | k: k H | v: k H) d"`;
const modelOf = (folder: string) => readFileSync(join(folder, "model.safetensors"));

test("the page has one table and one row, of one line, which go below the family's own", () => {
  expect([moreTables, moreRows]).toEqual([[], []]);
  expect(row!.trim().split("\n")).toHaveLength(1);
  expect(family.split(LAST)).toHaveLength(2);
});

test("with them the layout is written as vLLM's loader puts it together, recognised, and read back to the same bytes", async () => {
  const adapter = ["--adapter", plugin(), "--quiet"];
  const [vllm, hf, torchtitan] = ["vllm", "hf", "torchtitan"].map((name) => join(directory, name));
  expect((await run(olmo2.hf, vllm!, "--to", "vllm", ...adapter)).code).toBe(0);
  expect(bytesOf(vllm!, "self_attn.qkv_proj")).toEqual(bytesOf(olmo2.hf, ...QKV));
  expect(bytesOf(vllm!, "mlp.gate_up_proj")).toEqual(bytesOf(olmo2.hf, "mlp.gate_proj", "mlp.up_proj"));
  const { json } = await run("inspect", vllm!, "--json", ...adapter);
  expect(json).toMatchObject({ family: "olmo2", layout: "vllm", problems: [] });
  expect((await run(vllm!, hf!, ...adapter)).code).toBe(0);
  expect(modelOf(hf!)).toEqual(modelOf(olmo2.hf));
  expect((await run(vllm!, torchtitan!, "--to", "torchtitan", ...adapter)).code).toBe(0);
  expect((await run("diff", torchtitan!, olmo2.native, "--config", olmo2.hf, ...adapter)).code).toBe(0);
});

test("families lists it; parity says that there is no graph", async () => {
  const adapter = ["--adapter", plugin()];
  const { json } = await run("families", "--json", ...adapter);
  expect(json.families[0].nativeLayouts.at(-1)).toEqual({
    ...{ name: "vllm", trainer: "vllm", since: null, until: null, ranked: false },
    ...{ graph: false, noGraph: "it names what vLLM holds at run time" },
  });
  const vllm = join(directory, "vllm");
  expect((await run(olmo2.hf, vllm, "--to", "vllm", "--quiet", ...adapter)).code).toBe(0);
  const refused = await run("parity", vllm, olmo2.hf, "--backend", "cpu", "--json", ...adapter);
  expect([refused.code, refused.json.error.code]).toEqual([3, "NO_GRAPH"]);
});

test("parts in the wrong order: the round trip passes, the comparison with the loader's order does not", async () => {
  const adapter = ["--adapter", plugin(SPLIT, SPLIT.replace("k: k H | v: k H", "v: k H | k: k H")), "--quiet"];
  expect((await run("roundtrip", olmo2.hf, "--to", "vllm", ...adapter)).code).toBe(0);
  const vllm = join(directory, "vllm");
  expect((await run(olmo2.hf, vllm, "--to", "vllm", ...adapter)).code).toBe(0);
  expect(bytesOf(vllm, "self_attn.qkv_proj")).not.toEqual(bytesOf(olmo2.hf, ...QKV));
});

test("a layout that says it is ranked and has no rule of ranks is the adapter's fault, and named", async () => {
  const file = plugin('{ name: "vllm", trainer', '{ ranked: true, name: "vllm", trainer');
  const { code, json } = await run("plan", olmo2.hf, "--to", "vllm", "--json", "--adapter", file);
  expect([code, json.error.code]).toEqual([3, "ADAPTER_FAILED"]);
  expect(json.error.message).toContain('layout vllm: "ranked" is true, its rules say otherwise');
});
