// Goldens with hidden states, by the recipes of docs/goldens.md: which layer parts first, and what is no such golden.
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { bytesOf, edited, recalculated } from "../../../src/faults/edit.ts";
import { runParity } from "../../../src/parity/parity.ts";
import { f32, readState, type State, writeSafetensors } from "../../helpers/checkpoints.ts";
import { FIXTURES } from "../../helpers/fixtures.ts";
import { hfSide, nativeSide, withSource } from "../../helpers/models.ts";

const NAME = "qwen3/split";
const golden = `${FIXTURES}${NAME}/golden-taps.safetensors`;
const folder = mkdtempSync(join(tmpdir(), "golden-taps-"));
afterAll(() => rmSync(folder, { recursive: true }));

const OF_LAYERS = "hidden states behind layers 0, 1, 2";

test("of transformers and of torchtitan: a right model passes, layer by layer", async () => {
  for (const [a, path] of [
    [hfSide(NAME), golden],
    [nativeSide(NAME), `${FIXTURES}${NAME}/native-golden-taps.safetensors`],
  ] as const) {
    const report = await runParity({ a, golden: path, backend: "cpu" });
    expect(report).toMatchObject({ verdict: "pass", cause: null, firstDivergence: null });
    expect(report.checks).toContainEqual(expect.objectContaining({ name: OF_LAYERS, status: "passed" }));
    expect(report.taps.length).toBeGreaterThanOrEqual(3);
  }
});

test("a fault shows at the layer where it is, and faults of that layer alone are undone", async () => {
  const side = hfSide(NAME);
  const [gate, up] = ["gate", "up"].map((word) => `model.layers.1.mlp.${word}_proj.weight`);
  const swap = { [gate!]: { bytes: bytesOf(side.source, up!) }, [up!]: { bytes: bytesOf(side.source, gate!) } };
  const { cause, firstDivergence, checks, hypotheses } = await runParity({
    a: withSource(side, edited(side.source, swap)),
    golden,
    backend: "cpu",
  });
  expect(cause).toMatchObject({ code: "TENSORS_SWAPPED", tensors: [gate, up] });
  expect(firstDivergence?.tap).toBe("layers.1.ffn");
  expect(checks).toContainEqual(
    expect.objectContaining({ name: OF_LAYERS, status: "failed", detail: expect.stringContaining("at layer 1") }),
  );
  const places = hypotheses.filter(({ code }) => code !== "CONFIG_DIFFERS").map(({ place }) => place);
  expect(places.every((place) => /layers\.(?:1|\*)\./.test(place))).toBe(true);
});

test("what nothing explains is placed at its layer", async () => {
  const side = hfSide(NAME);
  const key = "model.layers.2.mlp.down_proj.weight";
  const noise = { [key]: { bytes: recalculated(side.source, key, (x, i) => x + 0.05 * Math.sin(i)) } };
  const report = await runParity({ a: withSource(side, edited(side.source, noise)), golden, backend: "cpu" });
  expect(report).toMatchObject({ cause: null, firstDivergence: { tap: "layers.2.ffn" } });
  expect(report.firstDivergence?.tensors).toContain(key);
});

test("other names, shapes and layers are refused", async () => {
  const state = readState(golden);
  const tokens = state.get("input_ids")!.shape[0]!;
  const refused = (name: string, key: string, shape: readonly number[]) => {
    const made: State = new Map([...state, [key, f32(shape, () => 0)]]);
    const path = join(writeSafetensors(join(folder, name), made), "model.safetensors");
    return runParity({ a: hfSide(NAME), golden: path, backend: "cpu" });
  };
  for (const [name, key, shape] of [
    ["name", "hidden.3", [tokens, 44]],
    ["rows", "hidden.layers.1", [tokens + 1, 44]],
    ["width", "hidden.layers.1", [tokens, 43]],
    ["layer", "hidden.layers.3", [tokens, 44]],
  ] as const) {
    await expect(refused(name, key, shape), name).rejects.toMatchObject({
      code: "GOLDEN_INVALID",
      exitCode: 3,
      details: { tensor: key, help: expect.stringContaining("docs/goldens.md") },
    });
  }
});

test("the recipes of the page are what the generator runs", () => {
  const page = readFileSync(new URL("../../../docs/goldens.md", import.meta.url), "utf8");
  const blocks = [...page.matchAll(/```python\n([\s\S]*?)```/g)].map(([, text]) => text);
  const files = ["transformers", "torchtitan", "megatron"].map((name) =>
    readFileSync(`${FIXTURES}generate/golden_of_${name}.py`, "utf8"),
  );
  expect(blocks).toEqual(files);
});
