// Beside a golden alone: a fault is named by undoing it, what fits equally is told as such, and what nothing explains is unknown.
import { expect, test } from "vitest";
import type { JsonObject } from "../../../src/base/json.ts";
import type { Change } from "../../../src/faults/edit.ts";
import { bytesOf, edited, recalculated } from "../../../src/faults/edit.ts";
import { runParity } from "../../../src/parity/parity.ts";
import { fixtureCase, hfSide, sampleOf, withSource } from "../../helpers/models.ts";

/** The fixture with tensors replaced, or fields of its config, beside its own golden. */
function compare(name: string, changes: Readonly<Record<string, Change>>, config: JsonObject = {}) {
  const side = hfSide(name, config);
  return runParity({
    a: withSource(side, edited(side.source, changes)),
    golden: fixtureCase(name).golden,
    backend: "cpu",
  });
}

const swapped = (name: string, a: string, b: string) => {
  const { source } = sampleOf(name);
  return { [a]: { bytes: bytesOf(source, b) }, [b]: { bytes: bytesOf(source, a) } };
};

const scaled = (name: string, key: string, factor: number) => ({
  [key]: { bytes: recalculated(sampleOf(name).source, key, (x) => x * factor) },
});

/** Rows of heads of `head` channels, halves made pairs: written out, apart from what undoes it. */
function inPairs(name: string, key: string, head: number) {
  const { source } = sampleOf(name);
  const bytes = bytesOf(source, key);
  const rows = source.tensors.get(key)!.shape[0]!;
  const size = bytes.length / rows;
  const result = new Uint8Array(bytes.length);
  for (let row = 0; row < rows; row++) {
    const [first, at] = [row - (row % head), row % head];
    const from = first + (at % 2 === 0 ? at / 2 : head / 2 + (at - 1) / 2);
    result.set(bytes.subarray(from * size, (from + 1) * size), row * size);
  }
  return { [key]: { bytes: result } };
}

const Q = "qwen3/split";
const layer = (l: number, role: string) => `model.layers.${l}.${role}.weight`;

test("a good model has no hypotheses", async () => {
  expect(await compare(Q, {})).toMatchObject({ verdict: "pass", cause: null, hypotheses: [], untried: 0 });
});

test("keys of one layer in the other rotary order", async () => {
  const key = layer(1, "self_attn.k_proj");
  const { cause, hypotheses, metrics } = await compare(Q, inPairs(Q, key, 14));
  expect(cause).toMatchObject({ code: "ROPE_PERMUTED", tensors: [key], fields: [] });
  const [found] = hypotheses;
  expect(found).toMatchObject({ code: "ROPE_PERMUTED", place: key, fits: true, tokens: metrics.tokens });
  expect(found!.klMeanNats).toBeLessThan(1e-12);
  expect(hypotheses.filter(({ fits }) => fits)).toHaveLength(1);
  expect(cause!.evidence).toMatch(
    /^mean KL is \S+ nats\/token, and \de?\S* with that undone; \d+ hypotheses were tried/,
  );
});

test("gate and up of one layer, and of one expert", async () => {
  const dense = ["gate", "up"].map((word) => layer(2, `mlp.${word}_proj`));
  expect((await compare(Q, swapped(Q, dense[0]!, dense[1]!))).cause).toMatchObject({
    code: "TENSORS_SWAPPED",
    tensors: dense,
  });
  const name = "qwen3_moe/untied";
  const expert = ["gate", "up"].map((word) => layer(1, `mlp.experts.7.${word}_proj`));
  const { cause } = await compare(name, swapped(name, expert[0]!, expert[1]!));
  expect(cause).toMatchObject({ code: "TENSORS_SWAPPED", tensors: expert });
});

test("a field of the config that fell back to its default", async () => {
  const theta = await compare(Q, {}, { rope_parameters: { rope_type: "default", rope_theta: 1e4 } });
  expect(theta.cause).toMatchObject({ code: "CONFIG_DIFFERS", fields: ["rope_parameters.rope_theta"], tensors: [] });
  expect(theta.cause!.fix).toContain("10000 → 1000000");
  const topK = await compare("qwen3_moe/untied", {}, { num_experts_per_tok: 3 });
  expect(topK.cause).toMatchObject({ code: "CONFIG_DIFFERS", fields: ["num_experts_per_tok"] });
});

test("what fits equally is told as such", async () => {
  const { cause, hypotheses } = await compare(Q, scaled(Q, layer(2, "self_attn.v_proj"), 448));
  expect(cause).toMatchObject({
    code: "SCALED",
    tensors: [layer(2, "self_attn.v_proj"), layer(2, "self_attn.o_proj")],
  });
  expect(cause!.explanation).toMatch(/^these fit equally, and this golden cannot tell them apart: /);
  expect(hypotheses.filter(({ fits }) => fits)).toHaveLength(2);
});

test("two faults at once: what takes most of the KL, and what explains the rest", async () => {
  const pair = ["gate", "up"].map((word) => layer(2, `mlp.${word}_proj`));
  const { cause } = await compare(Q, swapped(Q, pair[0]!, pair[1]!), { rms_norm_eps: 1e-5 });
  expect(cause).toMatchObject({ code: "TENSORS_SWAPPED", tensors: pair, fields: ["rms_norm_eps"] });
  expect(cause!.explanation).toMatch(/^two faults at once: /);
  expect(cause!.evidence).toMatch(/with the first, \S+ with both undone/);
});

test("what nothing explains is unknown, and half of it is no cause", async () => {
  const { source } = sampleOf(Q);
  const key = layer(1, "mlp.down_proj");
  const noise = { [key]: { bytes: recalculated(source, key, (x, i) => x + 0.05 * Math.sin(i)) } };
  const { cause, causes, hypotheses, nextSteps } = await compare(Q, noise);
  expect([cause, causes]).toEqual([null, []]);
  expect(hypotheses.some(({ fits }) => fits)).toBe(false);
  expect(hypotheses.length).toBeGreaterThan(100);
  expect(nextSteps.join("\n")).toMatch(/^the cause is unknown: \d+ known faults were undone on trial/m);
  expect(nextSteps.join("\n")).toContain("hidden.layers.N");
});

test("of heads in another order, at the first position many fit: a closer look tells which", async () => {
  const { source } = sampleOf(Q);
  const key = layer(1, "self_attn.v_proj");
  const bytes = bytesOf(source, key);
  const turned = new Uint8Array([...bytes.subarray(bytes.length / 2), ...bytes.subarray(0, bytes.length / 2)]);
  const { cause } = await compare(Q, { [key]: { bytes: turned } });
  expect(cause!.tensors).toContain(key);
  expect(cause!.explanation).toMatch(/heads reversed|halves exchanged/);
});

test("frequencies that follow from the length of the input are those of all of it, on its beginning too", async () => {
  const name = "hf_dense/phi3-longrope-bf16";
  const pair = ["input_layernorm", "post_attention_layernorm"].map((role) => layer(0, role));
  const { cause } = await compare(name, swapped(name, pair[0]!, pair[1]!));
  expect(cause).toMatchObject({ code: "TENSORS_SWAPPED", tensors: pair });
});

test("numbers that were rounded on the way back are named by what undoing leaves", async () => {
  const name = "hf_dense/gemma2-tied-bf16";
  const key = layer(1, "post_feedforward_layernorm");
  const { source } = sampleOf(name);
  const { cause, hypotheses } = await compare(name, { [key]: { bytes: recalculated(source, key, (x) => x - 1) } });
  expect(cause).toMatchObject({ code: "OFFSET", tensors: [key] });
  expect(hypotheses[0]!.klMeanNats).toBeGreaterThan(1e-8);
});
