// Hidden states that a golden has beside its logits: `hidden.layers.N` [T, D], what layer N leaves behind, before the final norm.
import type { Values } from "../../../numerics/driver.ts";
import type { ForwardPlan } from "../../../numerics/shapes/plan.ts";
import { elementCount } from "../../base/dtype.ts";
import { isFloat } from "../../base/floats.ts";
import type { Checkpoint } from "../../formats/checkpoint.ts";
import { castingRead } from "../../views/cast.ts";
import { describeTensor, invalidTensor } from "./tensors.ts";

const KEY = /^hidden\.layers\.(\d+)$/;
const HELP = "write what each layer returns as `hidden.layers.N`, float32 [T, D], N from 0 on (docs/goldens.md)";

/** Values by the names of taps, read when they are compared. */
export class GoldenTaps {
  private readonly keysOf: ReadonlyMap<string, string>;

  /** @throws InputError GOLDEN_INVALID for a tap of another name, type or shape */
  constructor(
    private readonly file: Checkpoint,
    tokens: number,
  ) {
    const own = [...file.tensors.keys()].filter((key) => key.startsWith("hidden"));
    const numbered = own.map((key) => [key, layerOf(file, key, tokens)] as const).toSorted((a, b) => a[1] - b[1]);
    this.keysOf = new Map(numbered.map(([key, layer]) => [`layers.${layer}.ffn`, key]));
  }

  get size(): number {
    return this.keysOf.size;
  }

  keys(): Iterable<string> {
    return this.keysOf.keys();
  }

  get(tap: string): Values | undefined {
    const key = this.keysOf.get(tap);
    if (key === undefined) return undefined;
    const { dtype, shape } = this.file.tensors.get(key)!;
    const values = new Float32Array(elementCount(shape));
    const read = castingRead((...range) => this.file.read(...range), isFloat(dtype) ? dtype : "F32", "F32");
    read(key, 0, new Uint8Array(values.buffer));
    return values;
  }

  /** Whether some are of a type with few digits: what a pass in it rounds is no difference. */
  get isNarrow(): boolean {
    return [...this.keysOf.values()].some((key) => this.file.tensors.get(key)!.dtype !== "F32");
  }

  /** @throws InputError GOLDEN_INVALID for a layer that the model does not have, or another width */
  check({ steps }: ForwardPlan): void {
    for (const [tap, key] of this.keysOf) {
      const step = steps.find((each) => each.tap === tap);
      const values = elementCount(this.file.tensors.get(key)!.shape);
      if (step?.tapValues === values) continue;
      const layers = steps.filter((each) => /^layers\.\d+\.ffn$/.test(each.tap));
      const found = describeTensor(this.file, key);
      const expected =
        step === undefined
          ? `a layer of this model, hidden.layers.0 to hidden.layers.${layers.length - 1}`
          : `${step.tapValues} values, a row of the hidden size for each token`;
      throw invalidTensor("GOLDEN_INVALID", this.file.path, key, [expected, found], HELP);
    }
  }
}

function layerOf(file: Checkpoint, key: string, tokens: number): number {
  const layer = KEY.exec(key)?.[1];
  const { dtype, shape } = file.tensors.get(key)!;
  const dims = shape.length === 3 && shape[0] === 1 ? shape.slice(1) : shape;
  const isRead = dtype === "F32" || dtype === "BF16" || dtype === "F16";
  if (layer !== undefined && isRead && dims.length === 2 && dims[0] === tokens && dims[1]! > 0) return Number(layer);
  const expected =
    layer === undefined
      ? "a name like hidden.layers.3"
      : `F32, BF16 or F16 [${tokens}, D], a row for each of input_ids`;
  throw invalidTensor(
    "GOLDEN_INVALID",
    file.path,
    key,
    [expected, layer === undefined ? key : describeTensor(file, key)],
    HELP,
  );
}
