// Values known beforehand, and rows of a matrix by their index.
import type { Ops } from "../../graph.ts";
import { constantShape, gatherShape } from "../../ops/lookup.ts";
import * as copies from "../kernels/copy.ts";
import { type GpuNode, Storage } from "../node.ts";
import type { Recording } from "../recording.ts";
import { flatGroups, part, type Step, sendWords, uploadStep, whole } from "../step.ts";
import type { WeightView } from "../weights.ts";

/** Values known beforehand. */
const constantStep = (values: Float32Array, output: Storage): Step =>
  uploadStep(output, (runner, first, count) => sendWords(runner, values.subarray(first, first + count)));

/** Rows of an embedding: only those asked for are read. */
function readRowsStep(table: WeightView, ids: readonly number[], channels: number, output: Storage): Step {
  const rowBytes = 4 * channels;
  return {
    inputs: [],
    output,
    kernels: [],
    uploadBytes: output.bytes,
    async run({ queue, reader, windowBytes }) {
      const window = Math.max(1, Math.floor(windowBytes / rowBytes));
      for (let first = 0; first < ids.length; first += window) {
        const rows = ids.slice(first, first + window);
        await queue.reserve(rows.length * rowBytes);
        const sent = queue.upload(rows.length * rowBytes, rowBytes, (begin, piece) => {
          for (let at = 0; at < piece.byteLength; at += rowBytes) {
            const row = piece.subarray(at, at + rowBytes);
            reader.readFloats(table, rows[(begin + at) / rowBytes]! * channels, row);
          }
        });
        queue.copy(sent, part(output, first * rowBytes, sent.size));
      }
    },
  };
}

function gatherStep(x: Storage, ids: readonly number[], channels: number, output: Storage): Step {
  const words = Uint32Array.from(ids);
  return {
    inputs: [x],
    output,
    kernels: [copies.gather],
    uploadBytes: words.byteLength,
    async run(runner) {
      await runner.queue.reserve(words.byteLength);
      const bindings = [whole(runner, x), sendWords(runner, words), whole(runner, output)];
      runner.queue.dispatch(copies.gather, bindings, { count: output.elements, channels }, flatGroups(output.elements));
    },
  };
}

export const lookups = (recording: Recording): Pick<Ops<GpuNode>, "constant" | "gather"> => ({
  constant: (values, shape) => {
    const given = Float32Array.from(values);
    return recording.make(constantShape(values, shape), (output) => constantStep(given, output));
  },
  gather: (table_VD, ids_T) => {
    const shape = gatherShape(table_VD, ids_T);
    const channels = shape[1]!;
    const table = table_VD.data;
    return recording.make(shape, (output) =>
      table instanceof Storage
        ? gatherStep(table, [...ids_T], channels, output)
        : readRowsStep(table, [...ids_T], channels, output),
    );
  },
});
