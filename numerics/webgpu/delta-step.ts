import type { KernelTraits } from "./choice.ts";
import { deltaChunk, deltaChunkFloats, deltaChunks, deltaRule, deltaRuleColumns } from "./kernels/delta-rule.ts";
import { Storage } from "./node.ts";
import { type Step, whole } from "./step.ts";

/** Bytes of scratch memory that heads may take together; one head takes what it needs. */
const scratchBytes = 64 * 2 ** 20;

/**
 * In ranges of heads, which do not meet.
 * @param sizes [T, K, H] of queries and keys, [T, N, C] of values
 */
export function deltaStep(
  traits: KernelTraits,
  [q, k, v, decay, beta]: readonly [Storage, Storage, Storage, Storage, Storage],
  sizes: { readonly keys: readonly number[]; readonly values: readonly number[] },
  output: Storage,
): Step {
  const [tokens, keyHeads, channels] = sizes.keys;
  const [, heads, columns] = sizes.values;
  const chunks = Math.ceil(tokens! / deltaChunk);
  const first = deltaChunks(channels!);
  // On the CPU one invocation a column, as a barrier among several is slow there.
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
