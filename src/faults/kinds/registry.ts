// The catalogue of ways to make a fault.
import { DEFAULTS } from "./config/defaults.ts";
import type { Kind } from "./kind.ts";
import { TENSORS } from "./model/tensors.ts";
import { TIED_HEAD } from "./model/tied-head.ts";
import { ROPE } from "./order/rope.ts";
import { ROWS } from "./order/rows.ts";
import { SWAPPED } from "./order/swapped.ts";
import { TRANSPOSED } from "./order/transposed.ts";
import { BROKEN } from "./values/broken.ts";
import { OFFSET } from "./values/offset.ts";
import { ROUNDED } from "./values/rounded.ts";
import { SCALED } from "./values/scaled.ts";

export const KINDS: readonly Kind[] = [
  ...ROPE,
  ...ROWS,
  ...SWAPPED,
  ...TRANSPOSED,
  ...ROUNDED,
  ...SCALED,
  ...OFFSET,
  ...BROKEN,
  ...TIED_HEAD,
  ...TENSORS,
  ...DEFAULTS,
];

/** Null where there is no such kind. */
export const kindNamed = (name: string): Kind | null => KINDS.find((kind) => kind.name === name) ?? null;
