// Hugging Face folders of sizes that no fixture has: random weights of the shapes that a config gives.
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { adapters } from "../../adapters/registry.ts";
import type { JsonObject } from "../../src/base/json.ts";
import { compileTable } from "../../src/table/plan.ts";
import { f32, type State, writeSafetensors } from "./checkpoints.ts";

/** Numbers in [-1, 1), the same in every run. */
function generator(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 31 - 1;
  };
}

export const configOf = (hf: string): JsonObject => JSON.parse(readFileSync(join(hf, "config.json"), "utf8"));

/** A config's required tensors, by their HF keys. */
export function shapesOf(config: JsonObject): { readonly key: string; readonly shape: number[] }[] {
  const adapter = adapters.find(({ modelTypes }) => modelTypes.includes(String(config.model_type)))!;
  const [native] = adapter.open(config, "config.json").layouts;
  const tensors = compileTable(native.rules(), native.axes()).tensors("hf");
  return tensors
    .filter(({ need }) => need === "required")
    .map(({ key, shape }) => ({ key, shape: shape.map((size) => size ?? 1) }));
}

/** F32 weights of those. */
export function madeState(config: JsonObject): State {
  const random = generator(7);
  return new Map(
    shapesOf(config).map(({ key, shape }) => {
      const about = /norm[^.]*\.weight$/.test(key) ? 1 : 0;
      return [key, f32(shape, () => about + 0.1 * random())] as const;
    }),
  );
}

/** Writes such a model; `change` edits its weights. */
export function madeModel(folder: string, config: JsonObject, change: (state: State) => void = () => {}): string {
  mkdirSync(folder, { recursive: true });
  const state = madeState(config);
  change(state);
  writeSafetensors(folder, state);
  writeFileSync(join(folder, "config.json"), JSON.stringify(config));
  return folder;
}
