// Recorded ops: what each reads and makes, and the commands it becomes.
import { EnvironmentError } from "../../src/base/errors.ts";
import type { RopePairs, RopeTable } from "../graph.ts";
import type { VisibleRanges } from "../visible.ts";
import type { Memory } from "./device/memory.ts";
import type { Kernel } from "./kernel.ts";
import type { AttentionKernel } from "./kernels/attention.ts";
import * as copies from "./kernels/copy.ts";
import { flatSize } from "./kernels/elementwise.ts";
import { rope } from "./kernels/rope.ts";
import { type GpuNode, Storage } from "./node.ts";
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
  /** All values of an activation, once the commands so far are done. */
  read(storage: Storage): Promise<Float32Array>;
  /** Runs a graph of its own in the middle of another; all it made is freed but its result, which `release` frees. */
  nested(graph: () => GpuNode): Promise<Storage>;
  release(storage: Storage): void;
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

export const flatGroups = (count: number) => grid(Math.ceil(count / flatSize));

/** Sends f32 elements of a weight; `reserve` made room for them. */
export function sendFloats({ queue, reader }: Runner, view: WeightView, first: number, count: number): Binding {
  return queue.upload(4 * count, 4, (begin, piece) => {
    reader.readFloats(view, first + begin / 4, piece);
  });
}

interface Operand {
  readonly source: Source;
  readonly elements: number;
}

/** Operands of which a kernel needs all: activations, or small weights that are sent now. */
export async function operands(runner: Runner, given: readonly Operand[]): Promise<Binding[]> {
  const bytes = given.map(({ source, elements }) => (source instanceof Storage ? 0 : alignUp(4 * elements)));
  await runner.queue.reserve(bytes.reduce((sum, n) => sum + n, 0));
  return given.map(({ source, elements }) =>
    source instanceof Storage ? whole(runner, source) : sendFloats(runner, source, 0, elements),
  );
}

/** Numbers of 4 bytes each; `reserve` made room for them. */
export function sendWords({ queue }: Runner, words: Uint32Array | Float32Array): Binding {
  const bytes = new Uint8Array(words.buffer, words.byteOffset, words.byteLength);
  return queue.upload(bytes.byteLength, 4, (begin, piece) =>
    piece.set(bytes.subarray(begin, begin + piece.byteLength)),
  );
}

/** Values known beforehand. */
export function constantStep(values: Float32Array, output: Storage): Step {
  return {
    inputs: [],
    output,
    kernels: [],
    uploadBytes: output.bytes,
    async run(runner) {
      const window = Math.max(1024, Math.floor(runner.windowBytes / 4));
      for (let first = 0; first < values.length; first += window) {
        const words = values.subarray(first, first + window);
        await runner.queue.reserve(words.byteLength);
        runner.queue.copy(sendWords(runner, words), part(output, 4 * first, words.byteLength));
      }
    },
  };
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

/** One kernel over equal elements of all operands, in parts that it can see. */
export function elementwiseStep<P extends string>(
  kernel: Kernel<P>,
  inputs: readonly Storage[],
  params: Omit<Record<P, number>, "count">,
  output: Storage,
): Step {
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
        queue.dispatch(kernel, bindings, { ...params, count: size / 4 } as Record<P, number>, flatGroups(size / 4));
      }
    },
  };
}

/** One invocation an element of the output, all operands in sight. */
export function wholeStep<P extends string>(
  kernel: Kernel<P>,
  inputs: readonly Storage[],
  params: Omit<Record<P, number>, "count">,
  output: Storage,
): Step {
  const count = output.elements;
  return {
    inputs,
    output,
    kernels: [kernel],
    uploadBytes: 0,
    async run(runner) {
      const bindings = [...inputs, output].map((storage) => whole(runner, storage));
      runner.queue.dispatch(kernel, bindings, { ...params, count } as Record<P, number>, flatGroups(count));
    },
  };
}

/** Row by row; `weights` have as many elements as a row. */
export function normStep(
  kernel: Kernel<"rows" | "channels" | "eps">,
  x: Storage,
  weights: readonly Source[],
  sizes: { readonly channels: number; readonly eps: number },
  output: Storage,
): Step {
  const { channels } = sizes;
  const rows = output.elements / channels;
  return {
    inputs: [x, ...weights],
    output,
    kernels: [kernel],
    uploadBytes: weights.length * alignUp(4 * channels),
    async run(runner) {
      const sent = await operands(
        runner,
        weights.map((source) => ({ source, elements: channels })),
      );
      runner.queue.dispatch(kernel, [whole(runner, x), ...sent, whole(runner, output)], { rows, ...sizes }, grid(rows));
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
  /** 0 where there is none. */
  readonly softcap: number;
}

export interface AttentionOperands {
  readonly activations: readonly [Storage, Storage, Storage];
  readonly visible: VisibleRanges;
  readonly sinks: Source | undefined;
}

export function attentionStep(
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
