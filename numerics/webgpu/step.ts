// Recorded ops: what each reads and makes, and the commands it becomes.
import { EnvironmentError } from "../../src/errors.ts";
import type { RopePairs, RopeTable } from "../graph.ts";
import type { Kernel } from "./kernel.ts";
import type { AttentionKernel } from "./kernels/attention.ts";
import * as copies from "./kernels/copy.ts";
import { flatSize } from "./kernels/elementwise.ts";
import { rope } from "./kernels/rope.ts";
import type { Memory } from "./memory.ts";
import { Storage } from "./node.ts";
import { alignment, alignUp, type Binding, grid, type Queue } from "./queue.ts";
import type { WeightReader, WeightView } from "./weights.ts";

export type Source = Storage | WeightView;

export interface Runner {
  readonly queue: Queue;
  readonly memory: Memory;
  readonly reader: WeightReader;
  /** Bytes of weights that are sent at a time. */
  readonly windowBytes: number;
  /** Largest part of a buffer that a kernel can see. */
  readonly bindingBytes: number;
}

export interface Step {
  readonly inputs: readonly Source[];
  readonly output: Storage;
  readonly kernels: readonly Kernel[];
  /** Bytes that it sends to the device, at most. */
  readonly uploadBytes: number;
  run(runner: Runner): Promise<void>;
}

/** All of an activation. @throws EnvironmentError GPU_TENSOR_TOO_LARGE where no kernel can see that much. */
export function whole({ bindingBytes }: Runner, storage: Storage): Binding {
  if (storage.bytes > bindingBytes) {
    throw new EnvironmentError("GPU_TENSOR_TOO_LARGE", "an activation is larger than this GPU lets a kernel see", {
      expected: `at most ${bindingBytes} bytes`,
      found: `${storage.bytes} bytes`,
      help: "take fewer tokens, or --backend cpu",
    });
  }
  return part(storage, 0, Math.max(16, alignUp(storage.bytes, 16)));
}

/** Bytes [offset, offset + size) of an activation. */
export function part({ buffer }: Storage, offset: number, size: number): Binding {
  if (buffer === undefined) throw new Error("an activation is used before it is made");
  return { buffer, offset, size };
}

const flatGroups = (count: number) => grid(Math.ceil(count / flatSize));

/** Sends f32 elements of a weight; `reserve` made room for them. */
export function sendFloats({ queue, reader }: Runner, view: WeightView, first: number, count: number): Binding {
  return queue.upload(4 * count, 4, (begin, piece) => {
    reader.readFloats(view, first + begin / 4, piece);
  });
}

/** An operand of which a kernel needs all: an activation, or a small weight that is sent now. */
async function operand(runner: Runner, source: Source, elements: number): Promise<Binding> {
  if (source instanceof Storage) return whole(runner, source);
  await runner.queue.reserve(alignUp(4 * elements));
  return sendFloats(runner, source, 0, elements);
}

/** A weight as an activation, for ops that take any node. */
export function loadStep(view: WeightView, output: Storage): Step {
  return {
    inputs: [],
    output,
    kernels: [],
    uploadBytes: output.bytes,
    async run(runner) {
      const window = Math.max(1024, Math.floor(runner.windowBytes / 4));
      for (let first = 0; first < output.elements; first += window) {
        const count = Math.min(window, output.elements - first);
        await runner.queue.reserve(4 * count);
        runner.queue.copy(sendFloats(runner, view, first, count), part(output, 4 * first, 4 * count));
      }
    },
  };
}

/** Rows of an embedding: only those asked for are read. */
export function readRowsStep(table: WeightView, ids: readonly number[], channels: number, output: Storage): Step {
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

export function gatherStep(x: Storage, ids: readonly number[], channels: number, output: Storage): Step {
  const bytes = Uint8Array.from(new Uint8Array(Uint32Array.from(ids).buffer));
  return {
    inputs: [x],
    output,
    kernels: [copies.gather],
    uploadBytes: bytes.byteLength,
    async run(runner) {
      await runner.queue.reserve(bytes.byteLength);
      const sent = runner.queue.upload(bytes.byteLength, 4, (begin, piece) =>
        piece.set(bytes.subarray(begin, begin + piece.byteLength)),
      );
      const bindings = [whole(runner, x), sent, whole(runner, output)];
      runner.queue.dispatch(copies.gather, bindings, { count: output.elements, channels }, flatGroups(output.elements));
    },
  };
}

/** One kernel over equal elements of all operands, in parts that it can see. */
export function elementwiseStep(kernel: Kernel<"count">, inputs: readonly Storage[], output: Storage): Step {
  return {
    inputs,
    output,
    kernels: [kernel],
    uploadBytes: 0,
    async run({ queue, bindingBytes }) {
      const window = Math.floor(bindingBytes / alignment) * alignment;
      for (let begin = 0; begin < output.bytes; begin += window) {
        const size = Math.min(window, output.bytes - begin);
        const bindings = [...inputs, output].map((storage) => part(storage, begin, size));
        queue.dispatch(kernel, bindings, { count: size / 4 }, flatGroups(size / 4));
      }
    },
  };
}

export function rmsNormStep(
  kernel: Kernel<"rows" | "channels" | "eps">,
  x: Storage,
  weight: Source,
  sizes: { readonly channels: number; readonly eps: number },
  output: Storage,
): Step {
  const { channels } = sizes;
  const rows = output.elements / channels;
  return {
    inputs: [x, weight],
    output,
    kernels: [kernel],
    uploadBytes: 4 * channels,
    async run(runner) {
      const bindings = [whole(runner, x), await operand(runner, weight, channels), whole(runner, output)];
      runner.queue.dispatch(kernel, bindings, { rows, ...sizes }, grid(rows));
    },
  };
}

export function ropeStep(
  x: Storage,
  shape: readonly number[],
  table: RopeTable,
  pairs: RopePairs,
  output: Storage,
): Step {
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

export interface AttentionSizes {
  readonly tokens: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly scale: number;
  /** Keys that a query sees, itself included. */
  readonly window: number;
}

export function attentionStep(
  kernel: AttentionKernel,
  inputs: readonly [Storage, Storage, Storage],
  sizes: AttentionSizes,
  output: Storage,
): Step {
  return {
    inputs,
    output,
    kernels: [kernel],
    uploadBytes: 0,
    async run(runner) {
      const bindings = [...inputs, output].map((storage) => whole(runner, storage));
      const groups = [Math.ceil(sizes.tokens / kernel.queries), sizes.heads] as const;
      runner.queue.dispatch(kernel, bindings, { ...sizes }, groups);
    },
  };
}

/** Indices [begin, end) of the middle axis of [outer, size, inner]. */
export function sliceStep(
  x: Storage,
  [outer, size, inner]: readonly [number, number, number],
  begin: number,
  end: number,
  output: Storage,
): Step {
  const taken = end - begin;
  return {
    inputs: [x],
    output,
    kernels: [copies.slice],
    uploadBytes: 0,
    async run(runner) {
      if (outer === 1) {
        runner.queue.copy(part(x, 4 * begin * inner, output.bytes), part(output, 0, output.bytes));
        return;
      }
      const params = { count: output.elements, size, inner, begin, taken };
      const bindings = [whole(runner, x), whole(runner, output)];
      runner.queue.dispatch(copies.slice, bindings, params, flatGroups(output.elements));
    },
  };
}
