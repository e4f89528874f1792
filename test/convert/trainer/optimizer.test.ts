// The optimizer's state along with its weights: there and back as it was, and everywhere as the weights themselves.
import { join } from "node:path";
import { expect, test } from "vitest";
import { f32, opened, readState, type State, type Stored, writeDcp } from "../../helpers/checkpoints.ts";
import { converted } from "../../helpers/converted.ts";
import { fixture } from "../../helpers/fixtures.ts";
import { scratch } from "../../helpers/scratch.ts";

const training = fixture("llama3/training");
const run = { config: training.hf, optimizer: true };

const entriesOf = (path: string) =>
  opened(path, ({ entries, paths }) =>
    Object.fromEntries(
      [...(entries ?? [])].map(([key, bytes]) => [key, [Buffer.from(bytes()).toString("base64"), paths?.get(key)]]),
    ),
  );

test.each(["torchtitan-fused", "torchtitan"])(
  "what torchtitan saved, there and back by %s: every tensor and entry",
  async (by) => {
    const home = scratch();
    const there = await converted(training.native, join(home, "there"), { ...run, to: by });
    expect(there.dropped.filter(({ reason }) => reason === "trainer state")).toEqual([]);
    await converted(join(home, "there"), join(home, "back"), { ...run, to: "torchtitan" });
    const back = readState(join(home, "back"));
    const saved = readState(training.native);
    expect([...back.keys()].sort()).toEqual([...saved.keys()].sort());
    for (const [key, tensor] of saved) expect({ [key]: back.get(key) }).toEqual({ [key]: tensor });
    const entries = await entriesOf(training.native);
    expect(Object.keys(entries).length).toBeGreaterThan(100);
    expect(await entriesOf(join(home, "back"))).toEqual(entries);
  },
);

test("a revision without fused modules: numbers of the whole go with each part", async () => {
  const out = join(scratch(), "out");
  await converted(training.native, out, { ...run, to: "torchtitan-0.2" });
  const [found, saved] = [readState(out), readState(training.native)];
  const fused = "optimizer.state.layers.1.attention.qkv_linear.wqkv.weight";
  for (const name of ["wq", "wk", "wv"]) {
    const own = `layers.1.attention.${name}.weight`;
    expect(found.get(`optimizer.state.${own}.step`)).toEqual(saved.get(`${fused}.step`));
    expect(found.get(`optimizer.state.${own}.exp_avg`)?.shape).toEqual(found.get(own)?.shape);
  }
  const entries = await entriesOf(out);
  const group = (key: string) => (entries[`optimizer.param_groups.${key}.betas`] ?? [])[0];
  expect(group("layers.1.attention.wq.weight")).toBe(group("norm.weight"));
  expect(entries["train_state.step"]).toEqual((await entriesOf(training.native))["train_state.step"]);
});

/** State that is the weight itself, or something as long. */
function withState(weights: State, of: (key: string, weight: Stored) => Stored | null): State {
  const state = new Map(weights);
  for (const [key, weight] of weights) {
    const moment = of(key, weight);
    if (moment === null) continue;
    state.set(`optimizer.state.${key}.exp_avg`, moment);
    state.set(
      `optimizer.state.${key}.step`,
      f32([], () => 3),
    );
  }
  return state;
}

/** Buffers are not trained. */
const trained = (key: string, weight: Stored): Stored | null => (key.includes("expert_bias") ? null : weight);

test.each([
  ["llama3/split", "torchtitan-0.2"],
  ["llama3/split", "torchtitan-fused"],
  ["llama3/fused-raw", "torchtitan"],
  ["llama3/fused-raw", "torchtitan-0.2"],
  ["qwen3_moe/untied", "torchtitan-0.2"],
  ["qwen3_moe/untied", "vllm"],
] as const)("%s to %s: state that equals its weights equals them afterwards", async (name, to) => {
  const { native, hf, layout } = fixture(name);
  const home = scratch();
  const source = writeDcp(join(home, "source"), withState(readState(native), trained));
  const options = { config: hf, optimizer: true, to, layout };
  await converted(source, join(home, "out"), { ...options, format: "dcp" });
  const out = readState(join(home, "out"));
  const moments = [...out].filter(([key]) => key.endsWith(".exp_avg"));
  expect(moments.length).toBeGreaterThan(10);
  // One that stays fused is checked against the weights that it was.
  const before = readState(native);
  for (const [key, moment] of moments) {
    const parameter = key.slice("optimizer.state.".length, -".exp_avg".length);
    expect({ [key]: moment }).toEqual({ [key]: out.get(parameter) ?? before.get(parameter) });
    expect(out.get(`optimizer.state.${parameter}.step`)).toEqual(f32([], () => 3));
  }
  const weights = [...out.keys()].filter((key) => !key.startsWith("optimizer.") && !key.includes("expert_bias"));
  if (name !== "llama3/fused-raw" || to !== "torchtitan") expect(moments).toHaveLength(weights.length);
});

/** The code of what is refused of a llama with this state. */
async function refused(change: (state: State) => void, to = "torchtitan-fused", out = "out"): Promise<unknown> {
  const { native, hf } = fixture("llama3/split");
  const home = scratch();
  const state = withState(readState(native), trained);
  change(state);
  const source = writeDcp(join(home, "source"), state);
  return converted(source, join(home, out), { config: hf, optimizer: true, to }).then(
    () => null,
    (error: unknown) => error,
  );
}

const WQ = "layers.0.attention.qkv_linear.wq.weight";

test("what cannot go along is told, and what it is", async () => {
  expect(await refused(() => {}, "hf")).toMatchObject({ code: "OPTIMIZER_TO_HF" });
  expect(await refused(() => {}, "torchtitan-0.2", "out.pt")).toMatchObject({ code: "OPTIMIZER_FORMAT" });
  expect(
    await refused((state) => {
      for (const key of [...state.keys()]) if (key.startsWith("optimizer.")) state.delete(key);
    }),
  ).toMatchObject({ code: "NO_OPTIMIZER" });
  expect(
    await refused((state) =>
      state.set(
        "optimizer.state.extra.weight.exp_avg",
        f32([2], () => 1),
      ),
    ),
  ).toMatchObject({ code: "OPTIMIZER_UNMAPPED", details: { tensor: "optimizer.state.extra.weight.exp_avg" } });
  expect(
    await refused((state) =>
      state.set(
        `optimizer.state.${WQ}.exp_avg`,
        f32([3], () => 1),
      ),
    ),
  ).toMatchObject({
    code: "OPTIMIZER_SHAPE",
    details: { tensor: `optimizer.state.${WQ}.exp_avg`, found: "[3]" },
  });
});

test("a part that was frozen, and steps that differ, do not become one parameter", async () => {
  expect(
    await refused((state) => {
      state.delete(`optimizer.state.${WQ}.exp_avg`);
      state.delete(`optimizer.state.${WQ}.step`);
    }),
  ).toMatchObject({ code: "OPTIMIZER_UNMAPPED" });
  expect(
    await refused((state) =>
      state.set(
        `optimizer.state.${WQ}.step`,
        f32([], () => 4),
      ),
    ),
  ).toMatchObject({
    code: "OPTIMIZER_DIFFERS",
  });
});
