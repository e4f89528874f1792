// What lies between recorded hidden states: each such stretch of a pass can be run on its own.
import type { Restart } from "../../../numerics/driver.ts";
import { InputError } from "../../base/errors.ts";
import type { Golden } from "../inputs/golden.ts";

/** @param recorded taps in the order of the pass */
export const stretchesOf = (recorded: readonly string[]): Restart[] => {
  const ends = [...recorded, null];
  return ends.map((to, i) => ({ from: i === 0 ? null : ends[i - 1]!, to }));
};

const LAYER = /^layers\.(\d+)\.ffn$/;

/** The layer behind which a tap is; null for taps within layers and outside of them. */
export function layerOfTap(tap: string): number | null {
  const layer = LAYER.exec(tap)?.[1];
  return layer === undefined ? null : Number(layer);
}

/** `layers 3 to 17`, `everything before layer 4`, `layer 5, the final norm and the logits`. */
export function stretchText({ from, to }: Restart): string {
  const first = from === null ? 0 : (layerOfTap(from) ?? -1) + 1;
  const last = to === null ? null : layerOfTap(to);
  const begin = from === null ? "the embedding, " : "";
  if (last === null) return `${begin}layers from ${first} on, the final norm and the logits`;
  return `${begin}${first === last ? `layer ${first}` : `layers ${first} to ${last}`}`;
}

/** @throws InputError GOLDEN_WITHOUT_TAPS */
export function checkRecorded({ path, taps }: Golden): void {
  if (taps.size > 0) return;
  throw new InputError("GOLDEN_WITHOUT_TAPS", `${path}: no hidden states to begin a layer with`, {
    file: path,
    expected: "tensors hidden.layers.N",
    found: "logits alone",
    help: "write hidden states beside the logits (docs/goldens.md), or save them with: parity MODEL --save-taps FILE",
  });
}
