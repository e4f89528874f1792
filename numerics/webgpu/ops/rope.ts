import type { Ops, RopePairs, RopeTable } from "../../graph.ts";
import { ropeShape } from "../../ops/rope.ts";
import { rope } from "../kernels/rope.ts";
import type { GpuNode, Storage } from "../node.ts";
import type { Recording } from "../recording.ts";
import { flatGroups, type Step, whole } from "../step.ts";

function ropeStep(x: Storage, shape: readonly number[], table: RopeTable, pairs: RopePairs, output: Storage): Step {
  const kernel = rope(pairs);
  const half = table.cos.byteLength;
  const bytes = [table.cos, table.sin].map((t) => new Uint8Array(t.buffer, t.byteOffset, t.byteLength));
  return {
    inputs: [x],
    output,
    kernels: [kernel],
    uploadBytes: 2 * half,
    async run(runner) {
      await runner.queue.reserve(2 * half);
      const sent = runner.queue.upload(2 * half, half, (begin, piece) => {
        for (let at = 0; at < piece.byteLength; at += half) piece.set(bytes[(begin + at) / half]!, at);
      });
      const [, heads, channels] = shape;
      const params = {
        count: output.elements,
        heads: heads!,
        channels: channels!,
        pairs: table.pairs,
        tokens: table.tokens,
      };
      runner.queue.dispatch(
        kernel,
        [whole(runner, x), sent, whole(runner, output)],
        params,
        flatGroups(output.elements),
      );
    },
  };
}

export const rotations = (recording: Recording): Pick<Ops<GpuNode>, "rope"> => ({
  rope: (x_TNH, table, pairs) => {
    const shape = ropeShape(x_TNH, table);
    const x = recording.storage(x_TNH);
    return recording.make(shape, (output) => ropeStep(x, shape, table, pairs, output));
  },
});
