// A whole model in another element type, alone or with a fault behind it.
import type { Float } from "../../../base/floats.ts";
import { isFloat } from "../../../base/floats.ts";
import { cast } from "../../../views/cast.ts";
import { tensorInfo } from "../../../views/tensor-source.ts";
import { bytesOf, type Change } from "../../edit.ts";
import type { Sample } from "../../fault.ts";
import { type Kind, type Made, withTensors } from "../kind.ts";
import { keysLike } from "../names.ts";
import { GATED } from "../order/gated.ts";
import { ROPE } from "../order/rope.ts";
import { OFFSET } from "../values/offset.ts";

const isWide = ({ source }: Sample): boolean =>
  [...source.tensors.values()].filter(({ dtype }) => isFloat(dtype)).every(({ dtype }) => dtype === "F32");

function castTo(sample: Sample, type: Float): Made {
  const changes = keysLike(sample, /./).map((key): [string, Change] => {
    const { dtype, shape } = sample.source.tensors.get(key)!;
    return [
      key,
      {
        bytes: () => cast(bytesOf(sample.source, key), isFloat(dtype) ? dtype : type, type),
        info: tensorInfo(key, type, shape),
      },
    ];
  });
  return withTensors(sample, Object.fromEntries(changes));
}

const ALL = "*";

const whole = (name: string, type: Float, about: string): Kind => ({
  name,
  code: "ROUNDED",
  about,
  keepsShapes: false,
  places: (sample) => (isWide(sample) ? [ALL] : []),
  make: (sample) => castTo(sample, type),
});

/** The whole model in bf16, after another fault was made in it. */
const behind = (name: string, fault: Kind): Kind => ({
  name,
  code: fault.code,
  about: `the whole model in bf16, and behind it: ${fault.about}`,
  keepsShapes: false,
  places: (sample) => (isWide(sample) ? fault.places(sample) : []),
  make(sample, place, seed) {
    const bad = fault.make(sample, place, seed);
    return { ...castTo(bad, "BF16"), tensors: bad.tensors };
  },
});

const named = (kinds: readonly Kind[], name: string): Kind => kinds.find((kind) => kind.name === name)!;

export const CAST: readonly Kind[] = [
  whole("whole-model-bf16", "BF16", "all weights rounded to bf16 without a word (torchtitan#4166)"),
  whole("whole-model-f16", "F16", "all weights rounded to f16 without a word (lit-llama#414)"),
  behind("bf16-and-rope-k-not-permuted", named(ROPE, "rope-k-not-permuted")),
  behind("bf16-and-gate-up-swapped", named(GATED, "gate-up-swapped")),
  behind("bf16-and-norm-minus-one", named(OFFSET, "norm-minus-one")),
];
