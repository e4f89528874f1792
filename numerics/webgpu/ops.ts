// The op interface: records steps, checks shapes, computes nothing.

import { elementCount } from "../../src/formats/dtype.ts";
import type { AttentionMask, Ops, RopePairs, RopeTable } from "../graph.ts";
import * as shapes from "../shapes/infer.ts";
import { attentionFor, type KernelTraits, rmsNormFor } from "./choice.ts";
import type { Kernel } from "./kernel.ts";
import { add, mul, silu } from "./kernels/elementwise.ts";
import { linearStep } from "./linear.ts";
import { GpuNode, Storage } from "./node.ts";
import * as steps from "./step.ts";

/** `window` of a causal mask: every key before the query is near enough. */
const unlimited = 0xffffffff;

export class Recorder implements Ops<GpuNode> {
  readonly #traits: KernelTraits;
  #steps: steps.Step[] = [];

  constructor(traits: KernelTraits) {
    this.#traits = traits;
  }

  /** What was recorded since the last call. */
  take(): readonly steps.Step[] {
    const taken = this.#steps;
    this.#steps = [];
    return taken;
  }

  gather(table_VD: GpuNode, ids_T: readonly number[]): GpuNode {
    const shape = shapes.gatherShape(table_VD, ids_T);
    const channels = shape[1]!;
    const table = table_VD.data;
    return this.#make(shape, (output) =>
      table instanceof Storage
        ? steps.gatherStep(table, [...ids_T], channels, output)
        : steps.readRowsStep(table, [...ids_T], channels, output),
    );
  }

  rmsNorm(x: GpuNode, weight: GpuNode, eps: number): GpuNode {
    const shape = shapes.rmsNormShape(x, weight);
    const input = this.#storage(x);
    const kernel = rmsNormFor(this.#traits);
    const sizes = { channels: weight.elements, eps };
    return this.#make(shape, (output) => steps.rmsNormStep(kernel, input, weight.data, sizes, output));
  }

  linear(x_TI: GpuNode, weight_OI: GpuNode, bias_O?: GpuNode): GpuNode {
    const shape = shapes.linearShape(x_TI, weight_OI, bias_O);
    const [rows, outputs] = shape;
    const sizes = { rows: rows!, inputs: x_TI.shape[1]!, outputs: outputs! };
    const operands = { x: this.#storage(x_TI), weight: weight_OI.data, bias: bias_O?.data };
    return this.#make(shape, (output) => linearStep(this.#traits, operands, sizes, output));
  }

  reshape(x: GpuNode, shape: readonly number[]): GpuNode {
    return new GpuNode(shapes.reshapeShape(x, shape), x.data);
  }

  slice(x: GpuNode, axis: number, begin: number, end: number): GpuNode {
    const shape = shapes.sliceShape(x, axis, begin, end);
    const outer = elementCount(x.shape.slice(0, axis));
    const inner = elementCount(x.shape.slice(axis + 1));
    const { data } = x;
    if (outer === 1 && !(data instanceof Storage)) {
      return new GpuNode(shape, { ...data, begin: data.begin + begin * inner });
    }
    const input = this.#storage(x);
    return this.#make(shape, (output) => steps.sliceStep(input, [outer, x.shape[axis]!, inner], begin, end, output));
  }

  rope(x_TNH: GpuNode, table: RopeTable, pairs: RopePairs): GpuNode {
    const shape = shapes.ropeShape(x_TNH, table);
    const x = this.#storage(x_TNH);
    return this.#make(shape, (output) => steps.ropeStep(x, shape, table, pairs, output));
  }

  attention(
    q_TNH: GpuNode,
    k_TKH: GpuNode,
    v_TKH: GpuNode,
    { scale, mask }: { readonly scale: number; readonly mask: AttentionMask },
  ): GpuNode {
    const shape = shapes.attentionShape(q_TNH, k_TKH, v_TKH);
    const [tokens, heads, channels] = q_TNH.shape;
    const kernel = attentionFor(this.#traits, [channels!, shape[2]!]);
    const window = mask.kind === "causal" ? unlimited : mask.size;
    const sizes = { tokens: tokens!, heads: heads!, kvHeads: k_TKH.shape[1]!, scale, window };
    const inputs = [this.#storage(q_TNH), this.#storage(k_TKH), this.#storage(v_TKH)] as const;
    return this.#make(shape, (output) => steps.attentionStep(kernel, inputs, sizes, output));
  }

  silu(x: GpuNode): GpuNode {
    return this.#elementwise(silu, x.shape, [x]);
  }

  mul(a: GpuNode, b: GpuNode): GpuNode {
    return this.#elementwise(mul, shapes.sameShape("mul", a, b), [a, b]);
  }

  add(a: GpuNode, b: GpuNode): GpuNode {
    return this.#elementwise(add, shapes.sameShape("add", a, b), [a, b]);
  }

  #elementwise(kernel: Kernel<"count">, shape: shapes.Shape, operands: readonly GpuNode[]): GpuNode {
    const inputs = operands.map((x) => this.#storage(x));
    return this.#make(shape, (output) => steps.elementwiseStep(kernel, inputs, output));
  }

  /** The elements of a node on the device; a weight is loaded by a step of its own. */
  #storage(x: GpuNode): Storage {
    const { data } = x;
    if (data instanceof Storage) return data;
    const storage = new Storage(x.elements);
    this.#steps.push(steps.loadStep(data, storage));
    return storage;
  }

  #make(shape: shapes.Shape, step: (output: Storage) => steps.Step): GpuNode {
    const output = new Storage(elementCount(shape));
    this.#steps.push(step(output));
    return new GpuNode(shape, output);
  }
}
