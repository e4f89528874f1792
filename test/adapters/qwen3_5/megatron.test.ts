import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { qwen35, qwen35Moe } from "../../../adapters/qwen3_5/index.ts";
import { converted } from "../../helpers/converted.ts";
import { fixture } from "../../helpers/fixtures.ts";
import { compiledTable } from "../../helpers/layouts.ts";
import { scratch } from "../../helpers/scratch.ts";
import { edited, type Tensors, tensorsOf } from "../headers.ts";
import { refusal } from "../refuse.ts";

const moe = fixture("qwen3_5_moe/megatron");
const text = fixture("qwen3_5/megatron-text");
const tableOf = ({ hf }: { readonly hf: string }, adapter = qwen35Moe) =>
  compiledTable(adapter.open(JSON.parse(readFileSync(`${hf}/config.json`, "utf8")), "config.json"), "megatron");

/** With the head that predicts a second token. */
const ALL = ["required", "optional"];
const whole = tableOf(moe);
const net = "language_model.decoder.layers.0.self_attention";

test.each([
  ["fromHf", "hf", "model.language_model.layers.0.linear_attn.in_proj_qkv.weight"],
  ["fromHf", "hf", "model.language_model.layers.0.linear_attn.in_proj_a.weight"],
  ["fromHf", "hf", "model.language_model.layers.1.mlp.experts.gate_up_proj"],
  ["fromHf", "hf", "mtp.layers.0.mlp.experts.down_proj"],
  ["toHf", "native", `${net}.in_proj.weight.z`],
  ["toHf", "native", `${net}.in_proj.weight.beta`],
  ["toHf", "native", `${net}.out_norm.weight`],
  ["toHf", "native", "language_model.mtp.layers.0.eh_proj.weight"],
  ["toHf", "native", "vision_model.decoder.layers.self_attention.linear_qkv.weight"],
] as const)("%s: %s without %s, with another, and with another shape", (direction, side, key) => {
  const tensors = tensorsOf(whole, side, ALL);
  const plan = (edit: (tensors: Tensors) => void) => refusal(() => whole.plan(direction, edited(tensors, edit)));
  const { shape } = tensors.get(key)!;
  expect(plan((all) => all.delete(key))).toContain(`"${key}"`);
  expect(plan((all) => all.set(`${key}_more`, all.get(key)!))).toContain(`no rule for "${key}_more"`);
  expect(plan((all) => all.set(key, { dtype: "F32", shape: shape.with(0, shape[0]! + 1) }))).toContain(
    `"${key}": expected`,
  );
});

test("in_proj's betas are Hugging Face's b, its alphas a", () => {
  const { moves } = whole.plan("fromHf", tensorsOf(whole, "hf"));
  const sourceOf = (key: string) => moves.find((move) => move.key === key)!.pieces.map(({ source }) => source);
  expect(["z", "beta", "alpha"].map((part) => sourceOf(`${net}.in_proj.weight.${part}`))).toEqual(
    ["z", "b", "a"].map((part) => [`model.language_model.layers.0.linear_attn.in_proj_${part}.weight`]),
  );
});

test("experts of the head for a second token are one by one in Qwen3.5's files: read, and told", () => {
  const each = (tensors: Tensors) => {
    for (const [key, { shape }] of [...tensors]) {
      if (!key.startsWith("mtp.layers.0.mlp.experts.")) continue;
      tensors.delete(key);
      const [experts, rows, columns] = shape as [number, number, number];
      const names = key.endsWith("gate_up_proj") ? ["gate_proj", "up_proj"] : ["down_proj"];
      for (let e = 0; e < experts; e++)
        for (const name of names)
          tensors.set(`mtp.layers.0.mlp.experts.${e}.${name}.weight`, {
            dtype: "F32",
            shape: [rows / names.length, columns],
          });
    }
  };
  const plan = whole.plan("fromHf", edited(tensorsOf(whole, "hf", ALL), each));
  expect(plan.order).toBe("per expert");
  const usual = whole.plan("fromHf", tensorsOf(whole, "hf", ALL));
  const shapes = (moves: typeof plan.moves) => new Map(moves.map(({ key, shape }) => [key, shape]));
  expect(shapes(plan.moves)).toEqual(shapes(usual.moves));
});

test("text alone has no prefix, and is read under Hugging Face's names of the whole model, too", () => {
  const table = tableOf(text, qwen35);
  const hf = tensorsOf(table, "hf", ALL);
  const named = (tensors: Tensors) => {
    for (const [key, tensor] of [...tensors]) {
      tensors.delete(key);
      tensors.set(key.replace(/^model\./, "model.language_model."), tensor);
    }
  };
  const keys = (from: Tensors) => table.plan("fromHf", from).moves.map(({ key }) => key);
  expect(keys(edited(hf, named))).toEqual(keys(hf));
  expect(keys(hf)).toContain("decoder.layers.0.self_attention.in_proj.weight.query");
});

test.each([moe, text])("both ways to the bytes that upstream has", async ({ hf, native }) => {
  const [there, back] = [join(scratch(), "there"), join(scratch(), "back")];
  await converted(hf, there, { to: "megatron" });
  await converted(native, back, { config: hf });
  expect(readFileSync(join(back, "model.safetensors"))).toEqual(readFileSync(join(hf, "model.safetensors")));
});
