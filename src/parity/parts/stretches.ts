// Hidden states that a golden has beside its logits: each stretch of a pass between them can be run on its own.
import { InputError } from "../../base/errors.ts";
import type { Golden } from "../inputs/golden.ts";

const LAYER = /^layers\.(\d+)\.ffn$/;

/** The layer behind which a tap is; null for taps within layers and outside of them. */
export function layerOfTap(tap: string): number | null {
  const layer = LAYER.exec(tap)?.[1];
  return layer === undefined ? null : Number(layer);
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
