// The op interface: records steps, checks shapes, computes nothing.

import { elementCount } from "../../src/base/dtype.ts";
import type { AttentionOptions, Ops, Pointwise, RopePairs, RopeTable, Routing, Summation } from "../graph.ts";
import { broadcastStrides, stridesOf } from "../js/kernels.ts";
import * as shapes from "../shapes/infer.ts";
import { visibleRanges } from "../visible.ts";
import { attentionFor, type KernelTraits, normLanes } from "./choice.ts";
import { deltaStep } from "./delta-step.ts";
import type { Kernel } from "./kernel.ts";
import { causalConv } from "./kernels/causal-conv.ts";
import * as elementwise from "./kernels/elementwise.ts";
import { layerNorm } from "./kernels/layer-norm.ts";
import { rmsNorm } from "./kernels/rms-norm.ts";
import { addRepeated, mulRepeated } from "./kernels/strided.ts";
import { linearStep } from "./linear.ts";
import { mixtureStep } from "./mixture.ts";
import { GpuNode, Storage } from "./node.ts";
import { concatStep, permuteStep, stridedStep } from "./shape-steps.ts";
import * as steps from "./step.ts";

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

  constant(values: ArrayLike<number>, shape: readonly number[]): GpuNode {
    const given = Float32Array.from(values);
    return this.#make(shapes.constantShape(values, shape), (output) => steps.constantStep(given, output));
  }

  rmsNorm(x: GpuNode, weight: GpuNode | null, eps: number): GpuNode {
    const weights = weight ? [weight] : [];
    return this.#norm(
      shapes.normShape("rmsNorm", x, ...weights),
      rmsNorm(this.#lanes, weight !== null),
      x,
      weights,
      eps,
    );
  }

  layerNorm(x: GpuNode, weight: GpuNode, bias: GpuNode, eps: number): GpuNode {
    return this.#norm(shapes.normShape("layerNorm", x, weight, bias), layerNorm(this.#lanes), x, [weight, bias], eps);
  }

  linear(x_TI: GpuNode, weight_OI: GpuNode, bias_O?: GpuNode, summation: Summation = "usual"): GpuNode {
    const shape = shapes.linearShape(x_TI, weight_OI, bias_O);
    const [rows, outputs] = shape;
    const sizes = { rows: rows!, inputs: x_TI.shape[1]!, outputs: outputs!, summation };
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

  concat(xs: readonly GpuNode[], axis: number): GpuNode {
    const shape = shapes.concatShape(xs, axis);
    const widths = xs.map((x) => elementCount(x.shape.slice(axis)));
    const inputs = xs.map((x) => this.#storage(x));
    return this.#make(shape, (output) => concatStep(inputs, widths, output));
  }

  permute(x: GpuNode, order: readonly number[]): GpuNode {
    const shape = shapes.permuteShape(x, order);
    const strides = stridesOf(x.shape);
    const input = this.#storage(x);
    return this.#make(shape, (output) =>
      permuteStep(input, { shape, strides: order.map((axis) => strides[axis]!) }, output),
    );
  }

  attention(q_TNH: GpuNode, k_TKH: GpuNode, v_TKC: GpuNode, options: AttentionOptions<GpuNode>): GpuNode {
    const shape = shapes.attentionShape(q_TNH, k_TKH, v_TKC, options);
    const [tokens, heads, channels] = q_TNH.shape;
    const { scale, mask, sinks_N, softcap } = options;
    const kernel = attentionFor(this.#traits, {
      channels: [channels!, shape[2]!],
      hasSinks: sinks_N !== undefined,
      hasSoftcap: softcap !== undefined,
    });
    const sizes = { tokens: tokens!, heads: heads!, kvHeads: k_TKH.shape[1]!, scale, softcap: softcap ?? 0 };
    const activations = [this.#storage(q_TNH), this.#storage(k_TKH), this.#storage(v_TKC)] as const;
    const operands = { activations, visible: visibleRanges(tokens!, mask), sinks: sinks_N?.data };
    return this.#make(shape, (output) => steps.attentionStep(kernel, operands, sizes, output));
  }

  map(f: Pointwise, x: GpuNode): GpuNode {
    return this.#elementwise(elementwise.map(f), x.shape, [x], {});
  }

  affine(x: GpuNode, factor: number, offset = 0): GpuNode {
    return this.#elementwise(elementwise.affine, x.shape, [x], { factor, offset });
  }

  clamp(x: GpuNode, low: number, high: number): GpuNode {
    return this.#elementwise(elementwise.clamp, x.shape, [x], { low, high });
  }

  mul(a: GpuNode, b: GpuNode): GpuNode {
    return this.#combine("mul", a, b);
  }

  add(a: GpuNode, b: GpuNode): GpuNode {
    return this.#combine("add", a, b);
  }

  causalConv(x_TC: GpuNode, weight_CW: GpuNode): GpuNode {
    const shape = shapes.causalConvShape(x_TC, weight_CW);
    const [x, weight] = [this.#storage(x_TC), this.#storage(weight_CW)];
    const params = { channels: shape[1]!, width: weight_CW.shape[1]! };
    return this.#make(shape, (output) => steps.wholeStep(causalConv, [x, weight], params, output));
  }

  deltaRule(q_TKH: GpuNode, k_TKH: GpuNode, v_TNC: GpuNode, decay_TN: GpuNode, beta_TN: GpuNode): GpuNode {
    const shape = shapes.deltaRuleShape(q_TKH, k_TKH, v_TNC, decay_TN, beta_TN);
    const [q, k, v] = [this.#storage(q_TKH), this.#storage(k_TKH), this.#storage(v_TNC)];
    const inputs = [q, k, v, this.#storage(decay_TN), this.#storage(beta_TN)] as const;
    const sizes = { keys: q_TKH.shape, values: shape };
    return this.#make(shape, (output) => deltaStep(this.#traits, inputs, sizes, output));
  }

  mixture(x_TD: GpuNode, routing: Routing<GpuNode>, expert: (x_nD: GpuNode, e: number) => GpuNode): GpuNode {
    const shape = shapes.mixtureShape(x_TD, routing);
    const operands = {
      x: this.#storage(x_TD),
      logits: this.#storage(routing.logits_TE),
      bias: routing.bias_E?.data,
      routing,
      expert,
      channels: shape[1]!,
    };
    return this.#make(shape, (output) => mixtureStep(operands, (step) => this.#steps.push(step), output));
  }

  get #lanes(): number {
    return normLanes(this.#traits);
  }

  #norm(
    shape: shapes.Shape,
    kernel: Kernel<"rows" | "channels" | "eps">,
    x: GpuNode,
    weights: readonly GpuNode[],
    eps: number,
  ): GpuNode {
    const input = this.#storage(x);
    const sources = weights.map((weight) => weight.data);
    const sizes = { channels: shape.at(-1)!, eps };
    return this.#make(shape, (output) => steps.normStep(kernel, input, sources, sizes, output));
  }

  #combine(kind: "mul" | "add", a: GpuNode, b: GpuNode): GpuNode {
    const shape = shapes.broadcastShape(kind, a, b);
    const [same, repeated] = kind === "mul" ? [elementwise.mul, mulRepeated] : [elementwise.add, addRepeated];
    if (a.elements === b.elements) return this.#elementwise(same, shape, [a, b], {});
    const inputs = [this.#storage(a), this.#storage(b)];
    const strides = { shape, strides: broadcastStrides(shape, b.shape) };
    return this.#make(shape, (output) => stridedStep(repeated, inputs, strides, output));
  }

  #elementwise<P extends string>(
    kernel: Kernel<P>,
    shape: shapes.Shape,
    operands: readonly GpuNode[],
    params: Omit<Record<P, number>, "count">,
  ): GpuNode {
    const inputs = operands.map((x) => this.#storage(x));
    return this.#make(shape, (output) => steps.elementwiseStep(kernel, inputs, params, output));
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
