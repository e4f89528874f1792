// A traced pass gives the logits of the pass that it was traced from, with and without weights replaced.
import { describe, expect, test } from "vitest";
import type { WeightSource } from "../../numerics/backend.ts";
import { CpuBackend } from "../../numerics/cpu/backend.ts";
import { runForwards } from "../../numerics/driver.ts";
import type { Forward, ForwardInput } from "../../numerics/graph.ts";
import { Replay } from "../../numerics/replay.ts";
import { Tracer } from "../../numerics/trace.ts";
import { readInputs } from "../../src/parity/inputs/file.ts";
import { SideWeights } from "../../src/parity/side.ts";
import { commandCases } from "../helpers/fixtures.ts";
import { hfSide } from "../helpers/models.ts";

async function logitsOf(
  weights: SideWeights,
  forward: Forward,
  input: ForwardInput,
  replaced = new Map<string, WeightSource>(),
) {
  const plan = weights.plan(forward, input);
  const weight = (key: string) => replaced.get(key) ?? weights.weight(key);
  const rows: number[] = [];
  await runForwards(new CpuBackend(), [{ forward, plan, weight, has: (key) => weights.has(key) }], input, {
    logits: (_, [block]) => rows.push(...block!),
  });
  return Float32Array.from(rows);
}

/** The weight less a little: another value everywhere. */
const other = (source: WeightSource): WeightSource => ({
  ...source,
  read(begin, target) {
    source.read(begin, target);
    for (let i = 0; i < target.length; i += 2) target[i] = target[i]! ^ 1;
  },
});

describe.each(commandCases.map((entry) => [entry.name, entry] as const))("%s", (name, { inputs }) => {
  const side = hfSide(name);
  const weights = new SideWeights(side);
  const forward = side.family.hf.forward();
  const input: ForwardInput =
    inputs === null ? { ids_T: [3, 1, 4, 1, 5, 9, 2, 6] } : readInputs(inputs, side.family.vision);
  const has = (key: string) => weights.has(key);
  const tracer = new Tracer();
  const trace = tracer.trace(forward, (key) => weights.weight(key), { ...input, has });
  const tokens = input.ids_T.length;

  test("gives the same logits, all of them or some rows, and with any weight replaced", async () => {
    const replay = new Replay(new CpuBackend(), (key) => weights.weight(key));
    const right = await logitsOf(weights, forward, input);
    const vocab = right.length / tokens;
    expect(Float32Array.from(await replay.hold(trace, { rows: { begin: 0, end: tokens } }))).toEqual(right);
    const [begin, end] = [2, 4];
    const some = await replay.logits(trace, { rows: { begin, end } });
    expect(Float32Array.from(some)).toEqual(right.slice(begin * vocab, end * vocab));
    const keys = trace.order.filter(({ op }) => op === null).map(({ key }) => key!);
    for (const key of [keys[1]!, keys[Math.floor(keys.length / 2)]!, keys.at(-1)!]) {
      const replaced = new Map([[key, other(weights.weight(key))]]);
      const found = await replay.logits(trace, { rows: { begin: 0, end: tokens }, replaced });
      expect(Float32Array.from(found)).toEqual(await logitsOf(weights, forward, input, replaced));
      expect(replay.cost(trace, replaced).ops).toBeLessThan(trace.order.length * 40);
    }
    expect(Float32Array.from(await replay.logits(trace, { rows: { begin: 0, end: tokens } }))).toEqual(right);
  });

  test("is one with itself, and another where a config computes otherwise", () => {
    const again = tracer.trace(side.family.hf.forward(), (key) => weights.weight(key), { ...input, has });
    expect(again.logits).toBe(trace.logits);
    const shorter = { ids_T: input.ids_T.slice(0, 5), has };
    expect(tracer.trace(forward, (key) => weights.weight(key), shorter).logits).not.toBe(trace.logits);
  });
});
