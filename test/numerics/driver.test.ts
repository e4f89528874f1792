import { expect, test } from "vitest";
import type { WeightSource } from "../../numerics/backend.ts";
import { CpuBackend } from "../../numerics/cpu/backend.ts";
import { type ForwardSide, runForwards, type TapComparison } from "../../numerics/driver.ts";
import type { Forward } from "../../numerics/graph.ts";
import { planForward } from "../../numerics/shapes/plan.ts";
import { asWeight, randomTensor } from "../helpers/tensors.ts";

const ids_T = [0, 2, 1, 2];

function sideOf(forward: Forward, weights: Readonly<Record<string, WeightSource>>, ids = ids_T): ForwardSide {
  const weight = (key: string) => weights[key]!;
  return { forward, weight, plan: planForward(forward, weight, { ids_T: ids }) };
}

const weights = (seed: number) => ({
  embed: asWeight(randomTensor([3, 4], 1), "embed"),
  w: asWeight(randomTensor([4, 4], seed), "w"),
  norm: asWeight(randomTensor([4], 3), "norm"),
  head: asWeight(randomTensor([5, 4], 4), "head"),
});

/** With a tap of its own inside the layer, if asked. */
const model = (extra: boolean): Forward =>
  function* (op, weight, input) {
    const x_TD = op.gather(weight("embed"), input.ids_T);
    yield { name: "embed", value: x_TD };
    const y_TD = op.linear(x_TD, weight("w"));
    if (extra) yield { name: "inside", value: y_TD, keep: [x_TD] };
    const z_TD = op.add(x_TD, op.map("silu", y_TD));
    yield { name: "layer", value: z_TD };
    return op.linear(op.rmsNorm(z_TD, weight("norm"), 1e-5), weight("head"));
  };

async function run(sides: readonly ForwardSide[], input = ids_T) {
  const taps: TapComparison[] = [];
  const blocks: [number, readonly Float32Array[]][] = [];
  const backend = new CpuBackend();
  const observer = {
    tap: (tap: TapComparison) => taps.push(tap),
    logits: (first: number, rows: readonly Float32Array[]) => blocks.push([first, rows]),
  };
  await runForwards(backend, sides, { ids_T: input }, observer);
  return { taps, blocks, peakBytes: backend.peakBytes };
}

test("two sides with other taps meet at those they have in common", async () => {
  const same = await run([sideOf(model(false), weights(2)), sideOf(model(true), weights(2))]);
  expect(same.taps.map(({ tap, relativeRms }) => [tap, relativeRms])).toEqual([
    ["embed", 0],
    ["layer", 0],
  ]);
  expect(same.blocks).toHaveLength(1);
  expect(same.blocks[0]![1][0]).toEqual(same.blocks[0]![1][1]);
  const swapped = await run([sideOf(model(true), weights(2)), sideOf(model(false), weights(2))]);
  expect(swapped.blocks).toEqual(same.blocks);
});

test("sides that differ part at the tap after the weight that differs", async () => {
  const { taps, blocks } = await run([sideOf(model(false), weights(2)), sideOf(model(false), weights(7))]);
  expect(taps[0]!.relativeRms).toBe(0);
  expect(taps[1]!.relativeRms).toBeGreaterThan(0.1);
  expect(blocks[0]![1][0]).not.toEqual(blocks[0]![1][1]);
});

test("a side alone gives its logits and compares nothing", async () => {
  const { taps, blocks } = await run([sideOf(model(false), weights(2))]);
  expect(taps).toEqual([]);
  expect(blocks.map(([first, rows]) => [first, rows.length, rows[0]!.length])).toEqual([[0, 1, 20]]);
});

test("logits of a large vocabulary come in blocks of rows, the same values as in one", async () => {
  const vocab = 500_000;
  const ids = Array.from({ length: 40 }, (_, t) => t % 3);
  const head = randomTensor([vocab, 1], 5);
  const thin: Forward = function* (op, weight, input) {
    const x_TD = op.gather(weight("embed"), input.ids_T);
    yield { name: "embed", value: x_TD };
    return op.reshape(op.linear(op.reshape(op.mul(x_TD, x_TD), [input.ids_T.length, 1]), weight("head")), [
      input.ids_T.length,
      vocab,
    ]);
  };
  const embed = randomTensor([3, 1], 6);
  const side = sideOf(thin, { embed: asWeight(embed, "embed"), head: asWeight(head, "head") }, ids);
  const { blocks, peakBytes } = await run([side], ids);
  expect(blocks.map(([first]) => first)).toEqual([0, 16, 32]);
  expect(peakBytes).toBeLessThan(0.7 * 40 * vocab * 8);
  for (const [first, [rows]] of blocks) {
    for (let t = 0; t < rows!.length / vocab; t++) {
      const x = embed.values[ids[first + t]!]!;
      for (const v of [0, 1, 77_777, vocab - 1])
        expect(rows![t * vocab + v]).toBe(Math.fround(x * x * head.values[v]!));
    }
  }
});

test("a graph that mixes rows after its last tap is a mistake and says so", async () => {
  const wrong: Forward = function* (op, weight, input) {
    const x_TD = op.gather(weight("embed"), input.ids_T);
    yield { name: "embed", value: x_TD };
    const q_TNH = op.reshape(x_TD, [input.ids_T.length, 2, 2]);
    return op.reshape(op.attention(q_TNH, q_TNH, q_TNH, { scale: 1, mask: { kind: "causal" } }), [4, 4]);
  };
  await expect(run([sideOf(wrong, weights(2))])).rejects.toThrow("attention after the last tap");
});
