import type { KernelTraits } from "./choice.ts";
import { deltaRule, deltaRuleLanes } from "./kernels/delta-rule.ts";
import type { Storage } from "./node.ts";
import { grid } from "./queue.ts";
import { type Step, whole } from "./step.ts";

/** @param sizes [T, K, H] of queries and keys, [T, N, C] of values */
export function deltaStep(
  traits: KernelTraits,
  inputs: readonly Storage[],
  sizes: { readonly keys: readonly number[]; readonly values: readonly number[] },
  output: Storage,
): Step {
  const [tokens, keyHeads, channels] = sizes.keys;
  const [, heads, columns] = sizes.values;
  const lanes = deltaRuleLanes(channels!, traits.workgroupMemoryBytes);
  const kernel = deltaRule(channels!, lanes);
  const groupsPerHead = Math.ceil(columns! / lanes);
  const params = { tokens: tokens!, keyHeads: keyHeads!, heads: heads!, columns: columns!, groupsPerHead };
  return {
    inputs,
    output,
    kernels: [kernel],
    uploadBytes: 0,
    async run(runner) {
      const bindings = [...inputs, output].map((storage) => whole(runner, storage));
      runner.queue.dispatch(kernel, bindings, params, grid(heads! * groupsPerHead));
    },
  };
}
