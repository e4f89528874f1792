import type { Ops } from "../../graph.ts";
import { attentionShape } from "../../ops/attention.ts";
import { type VisibleRanges, visibleRanges } from "../../visible.ts";
import { attentionFor } from "../choice.ts";
import type { AttentionKernel } from "../kernels/attention.ts";
import { type GpuNode, Storage } from "../node.ts";
import { alignUp, type Binding } from "../queue.ts";
import type { Recording } from "../recording.ts";
import { type Runner, type Source, type Step, sendFloats, sendWords, whole } from "../step.ts";

interface AttentionSizes {
  readonly tokens: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly scale: number;
  /** 0 where there is none. */
  readonly softcap: number;
}

interface AttentionOperands {
  readonly activations: readonly [Storage, Storage, Storage];
  readonly visible: VisibleRanges;
  readonly sinks: Source | undefined;
}

function attentionStep(
  kernel: AttentionKernel,
  { activations, visible, sinks }: AttentionOperands,
  sizes: AttentionSizes,
  output: Storage,
): Step {
  const ranges = new Uint32Array(2 * sizes.tokens);
  for (let t = 0; t < sizes.tokens; t++) ranges.set([visible.begin[t]!, visible.end[t]!], 2 * t);
  return {
    inputs: sinks ? [...activations, sinks] : activations,
    output,
    kernels: [kernel],
    uploadBytes: ranges.byteLength + alignUp(4 * sizes.heads),
    async run(runner) {
      await runner.queue.reserve(alignUp(ranges.byteLength) + alignUp(4 * sizes.heads));
      const bindings = [
        ...activations.map((storage) => whole(runner, storage)),
        sendWords(runner, ranges),
        ...(sinks === undefined ? [] : [bindSmall(runner, sinks, sizes.heads)]),
        whole(runner, output),
      ];
      const groups = [Math.ceil(sizes.tokens / kernel.queries), sizes.heads] as const;
      runner.queue.dispatch(kernel, bindings, { ...sizes }, groups);
    },
  };
}

/** `reserve` made room for it. */
const bindSmall = (runner: Runner, source: Source, elements: number): Binding =>
  source instanceof Storage ? whole(runner, source) : sendFloats(runner, source, 0, elements);

export const attentions = (recording: Recording): Pick<Ops<GpuNode>, "attention"> => ({
  attention: (q_TNH, k_TKH, v_TKC, options) => {
    const shape = attentionShape(q_TNH, k_TKH, v_TKC, options);
    const [tokens, heads, channels] = q_TNH.shape;
    const { scale, mask, sinks_N, softcap } = options;
    const kernel = attentionFor(recording.traits, {
      channels: [channels!, shape[2]!],
      hasSinks: sinks_N !== undefined,
      hasSoftcap: softcap !== undefined,
    });
    const sizes = { tokens: tokens!, heads: heads!, kvHeads: k_TKH.shape[1]!, scale, softcap: softcap ?? 0 };
    const activations = [recording.storage(q_TNH), recording.storage(k_TKH), recording.storage(v_TKC)] as const;
    const given = { activations, visible: visibleRanges(tokens!, mask), sinks: sinks_N?.data };
    return recording.make(shape, (output) => attentionStep(kernel, given, sizes, output));
  },
});
