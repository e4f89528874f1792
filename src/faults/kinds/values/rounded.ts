// Tensors that went through a narrower type, or lost a little elsewhere.
import { elementCount } from "../../../base/dtype.ts";
import { type Float, isFloat } from "../../../base/floats.ts";
import { cast } from "../../../views/cast.ts";
import { bytesOf, recalculated } from "../../edit.ts";
import type { Sample } from "../../fault.ts";
import { type Kind, tensorKind } from "../kind.ts";
import { keysLike } from "../names.ts";
import { routers } from "../order/experts.ts";
import { randomBy } from "../random.ts";

/** Tensors of a wider type than 16 bits. */
const wide = (sample: Sample, pattern = /./): string[] =>
  keysLike(sample, pattern, ({ dtype }) => dtype === "F32" || dtype === "F64");

function through({ source }: Sample, key: string, type: Float): Uint8Array {
  const { dtype } = source.tensors.get(key)!;
  if (!isFloat(dtype)) throw new RangeError(`${key} is ${dtype}`);
  return cast(cast(bytesOf(source, key), dtype, type), type, dtype);
}

/** F32 with the 16 bits cut off that bf16 does not have. */
function cutOff(bytes: Uint8Array): Uint8Array {
  const words = new Uint32Array(Uint8Array.from(bytes).buffer);
  return new Uint8Array(words.map((word) => word & 0xffff0000).buffer);
}

/** What noise adds, relative to each value: a step of training. */
const STEP = 5e-4;

export const ROUNDED: readonly Kind[] = [
  tensorKind({
    name: "rounded-bf16",
    code: "ROUNDED",
    about: "a tensor that went through bf16 (torchtitan#4166)",
    places: (sample) => wide(sample),
    bytes: (sample, key) => through(sample, key, "BF16"),
  }),
  tensorKind({
    name: "rounded-f16",
    code: "ROUNDED",
    about: "a tensor that went through f16 (lit-llama#414)",
    places: (sample) => wide(sample),
    bytes: (sample, key) => through(sample, key, "F16"),
  }),
  tensorKind({
    name: "router-rounded",
    code: "ROUNDED",
    about: "a router rounded to bf16: few logits move, and experts are chosen otherwise (Automodel#2553, mlx-vlm#2053)",
    places: (sample) => routers(sample).filter((key) => wide(sample).includes(key)),
    bytes: (sample, key) => through(sample, key, "BF16"),
  }),
  tensorKind({
    name: "truncated-bf16",
    code: "TRUNCATED",
    about: "f32 cut off to bf16, not rounded: the upper two bytes of each element",
    places: (sample) => keysLike(sample, /./, ({ dtype }) => dtype === "F32"),
    bytes: ({ source }, key) => cutOff(bytesOf(source, key)),
  }),
  tensorKind({
    name: "stale-step",
    code: "STALE_WEIGHTS",
    about: "a matrix of another training step: nearly the same everywhere",
    places: (sample) => keysLike(sample, /./, ({ shape }) => shape.length > 1),
    bytes({ source }, key, seed) {
      const random = randomBy(seed, key);
      const isNarrow = source.tensors.get(key)!.dtype !== "F32";
      const size = isNarrow ? 40 * STEP : STEP;
      return recalculated(source, key, (x) => x * (1 + size * (2 * random() - 1)));
    },
  }),
  tensorKind({
    name: "one-unit-in-the-last-place",
    code: "LAST_PLACE",
    alsoCodes: ["STALE_WEIGHTS"],
    about: "every element of a matrix off by one unit in the last place: another order of summation, once",
    places: (sample) => keysLike(sample, /\.down_proj\.weight$|\.fc2\.weight$/, ({ dtype }) => dtype !== "F64"),
    bytes({ source }, key) {
      const { shape, byteLength } = source.tensors.get(key)!;
      const width = byteLength / elementCount(shape);
      // The lowest byte of each element, but where it would carry.
      return bytesOf(source, key).map((byte, at) => (at % width === 0 ? byte ^ 1 : byte));
    },
  }),
];
