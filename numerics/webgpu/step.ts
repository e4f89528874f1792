// Recorded ops: what each reads and makes, and the commands it becomes.
import { EnvironmentError } from "../../src/base/errors.ts";
import type { Memory } from "./device/memory.ts";
import type { Kernel } from "./kernel.ts";
import { flatSize } from "./kernels/elementwise.ts";
import { type StridedParam, stridedParams } from "./kernels/strided.ts";
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
  /**
   * Runs a nested graph in the middle of another. All that it made is freed, except its result, which `release` frees.
   */
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

/** Fills `output` from the host, in parts; `send` takes the first element of a part and their number. */
export function uploadStep(output: Storage, send: (runner: Runner, first: number, count: number) => Binding): Step {
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
        runner.queue.copy(send(runner, first, count), part(output, 4 * first, 4 * count));
      }
    },
  };
}

/** A weight as an activation, for ops that take any node. */
export const loadStep = (view: WeightView, output: Storage): Step =>
  uploadStep(output, (runner, first, count) => sendFloats(runner, view, first, count));

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

/** One invocation per element of the output; all operands are bound. */
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

/** How an operand is seen: element i of `shape` is at Σ indexₐ · strideₐ. */
export interface Strides {
  readonly shape: readonly number[];
  readonly strides: readonly number[];
}

/** A kernel over all elements of the output, whose last operand is seen through strides. */
export function stridedStep(
  kernel: Kernel<StridedParam>,
  inputs: readonly Storage[],
  { shape, strides }: Strides,
  output: Storage,
): Step {
  return {
    inputs,
    output,
    kernels: [kernel],
    uploadBytes: 0,
    async run(runner) {
      const bindings = [...inputs, output].map((storage) => whole(runner, storage));
      runner.queue.dispatch(
        kernel,
        bindings,
        stridedParams(output.elements, shape, strides),
        flatGroups(output.elements),
      );
    },
  };
}
