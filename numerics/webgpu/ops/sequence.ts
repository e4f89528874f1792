// Ops that go through the tokens in their order.
import type { Ops } from "../../graph.ts";
import { causalConvShape, deltaRuleShape } from "../../ops/sequence.ts";
import type { KernelTraits } from "../choice.ts";
import { causalConv } from "../kernels/causal-conv.ts";
import { deltaChunk, deltaChunkFloats, deltaChunks, deltaRule, deltaRuleColumns } from "../kernels/delta-rule.ts";
import { type GpuNode, Storage } from "../node.ts";
import type { Recording } from "../recording.ts";
import { type Step, whole, wholeStep } from "../step.ts";

/** Bytes of scratch memory that heads may take together; one head takes what it needs. */
const scratchBytes = 64 * 2 ** 20;

/**
 * In ranges of heads, which do not meet.
 * @param sizes [T, K, H] of queries and keys, [T, N, C] of values
 */
function deltaStep(
  traits: KernelTraits,
  [q, k, v, decay, beta]: readonly [Storage, Storage, Storage, Storage, Storage],
  sizes: { readonly keys: readonly number[]; readonly values: readonly number[] },
  output: Storage,
): Step {
  const [tokens, keyHeads, channels] = sizes.keys;
  const [, heads, columns] = sizes.values;
  const chunks = Math.ceil(tokens! / deltaChunk);
  const first = deltaChunks(channels!);
  // On the CPU, one invocation per column: a barrier among several is slow there.
  const teams = traits.family === "tile" ? 4 : 1;
  const second = deltaRule({
    channels: channels!,
    columns: deltaRuleColumns(channels!, traits.workgroupMemoryBytes),
    teams,
  });
  const perHead = chunks * deltaChunkFloats;
  return {
    inputs: [q, k, v, decay, beta],
    output,
    kernels: [first, second],
    uploadBytes: 0,
    async run(runner) {
      const bind = (storages: readonly Storage[]) => storages.map((storage) => whole(runner, storage));
      const together = Math.max(1, Math.floor(Math.min(scratchBytes, runner.bindingBytes) / (4 * perHead)));
      const scratch = new Storage(Math.min(together, heads!) * perHead);
      scratch.buffer = runner.memory.take(scratch.bytes);
      for (let firstHead = 0; firstHead < heads!; firstHead += together) {
        const count = Math.min(together, heads! - firstHead);
        const params = { tokens: tokens!, keyHeads: keyHeads!, heads: heads!, firstHead };
        runner.queue.dispatch(first, bind([q, k, decay, beta, scratch]), params, [chunks, count]);
        const groups = [Math.ceil(columns! / (second.size / teams)), count] as const;
        runner.queue.dispatch(second, bind([q, k, v, scratch, output]), { ...params, columns: columns! }, groups);
      }
      runner.memory.give(scratch.buffer);
    },
  };
}

export const sequential = (recording: Recording): Pick<Ops<GpuNode>, "causalConv" | "deltaRule"> => ({
  causalConv: (x_TC, weight_CW) => {
    const shape = causalConvShape(x_TC, weight_CW);
    const inputs = [recording.storage(x_TC), recording.storage(weight_CW)];
    const params = { channels: shape[1]!, width: weight_CW.shape[1]! };
    return recording.make(shape, (output) => wholeStep(causalConv, inputs, params, output));
  },
  deltaRule: (q_TKH, k_TKH, v_TNC, decay_TN, beta_TN) => {
    const shape = deltaRuleShape(q_TKH, k_TKH, v_TNC, decay_TN, beta_TN);
    const [q, k, v] = [recording.storage(q_TKH), recording.storage(k_TKH), recording.storage(v_TNC)];
    const inputs = [q, k, v, recording.storage(decay_TN), recording.storage(beta_TN)] as const;
    const sizes = { keys: q_TKH.shape, values: shape };
    return recording.make(shape, (output) => deltaStep(recording.traits, inputs, sizes, output));
  },
});
