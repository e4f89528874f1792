// The catalogue of ways to make a fault, and of changes that are none.
import { ROUTING } from "./config/experts.ts";
import { HEADS, NUMBERS } from "./config/numbers.ts";
import { POSITIONS, WINDOWS } from "./config/positions.ts";
import { SIGHT } from "./config/vision.ts";
import { CONTROLS } from "./controls/controls.ts";
import type { Kind } from "./kind.ts";
import { CAST } from "./model/cast.ts";
import { TENSORS } from "./model/tensors.ts";
import { TIED_HEAD } from "./model/tied-head.ts";
import { ATTENTION } from "./order/attention.ts";
import { DELTA } from "./order/delta.ts";
import { EXPERTS } from "./order/experts.ts";
import { FUSED_KINDS } from "./order/fused.ts";
import { GATED } from "./order/gated.ts";
import { LATENT } from "./order/latent.ts";
import { LAYERS } from "./order/layers.ts";
import { MTP } from "./order/mtp.ts";
import { ROPE } from "./order/rope.ts";
import { ROPE_ELSEWHERE } from "./order/rope-elsewhere.ts";
import { ROWS } from "./order/rows.ts";
import { SWAPPED } from "./order/swapped.ts";
import { SHARDS, TRANSPOSED } from "./order/transposed.ts";
import { VISION } from "./order/vision.ts";
import { VOCABULARY } from "./order/vocabulary.ts";
import { BROKEN } from "./values/broken.ts";
import { ENCODED } from "./values/encoded.ts";
import { OFFSET } from "./values/offset.ts";
import { ROUNDED } from "./values/rounded.ts";
import { SCALED, ZEROED } from "./values/scaled.ts";

/** In the order of `mutate --list`. */
export const KINDS: readonly Kind[] = [
  ...ROPE,
  ...ROPE_ELSEWHERE,
  ...GATED,
  ...FUSED_KINDS,
  ...ATTENTION,
  ...LATENT,
  ...DELTA,
  ...VISION,
  ...EXPERTS,
  ...MTP,
  ...LAYERS,
  ...TRANSPOSED,
  ...SHARDS,
  ...ROWS,
  ...SWAPPED,
  ...VOCABULARY,
  ...OFFSET,
  ...ROUNDED,
  ...SCALED,
  ...ZEROED,
  ...ENCODED,
  ...BROKEN,
  ...TIED_HEAD,
  ...TENSORS,
  ...CAST,
  ...POSITIONS,
  ...WINDOWS,
  ...NUMBERS,
  ...HEADS,
  ...ROUTING,
  ...SIGHT,
  ...CONTROLS,
];

/** Null where there is no such kind. */
export const kindNamed = (name: string): Kind | null => KINDS.find((kind) => kind.name === name) ?? null;
