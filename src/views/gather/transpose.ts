// Matrices transposed in WebAssembly: two to five times as fast as a loop here, as it moves blocks in vectors.
import { sharedMemory } from "../../base/threads/memory.ts";
import { TRANSPOSE_KERNELS } from "./transpose-kernels.ts";

/** A matrix in a memory: byte offsets, sizes in elements, strides in bytes. Row r, column c goes to row c, column r. */
export interface Transposition {
  readonly source: number;
  readonly target: number;
  readonly rows: number;
  readonly columns: number;
  readonly sourceStride: number;
  readonly targetStride: number;
}

type Kernel = (...numbers: number[]) => void;

/** Compiled once; null where the machine's WebAssembly has no vectors. */
let kernels: WebAssembly.Module | null | undefined;

function compiled(): WebAssembly.Module | null {
  if (kernels !== undefined) return kernels;
  const bytes = Buffer.from(TRANSPOSE_KERNELS, "base64");
  kernels = WebAssembly.validate(bytes) ? new WebAssembly.Module(bytes) : null;
  return kernels;
}

/** A memory that threads may share, whose matrices can be transposed from one place of it to another. */
export class TransposingMemory {
  readonly bytes: Uint8Array;
  readonly #kernels: ReadonlyMap<number, Kernel>;

  private constructor(memory: WebAssembly.Memory, module: WebAssembly.Module) {
    this.bytes = new Uint8Array(memory.buffer);
    const { exports } = new WebAssembly.Instance(module, { host: { memory } });
    this.#kernels = new Map([1, 2, 4].map((width) => [width, kernelOf(exports, width)]));
  }

  /** Null where there are no vectors. */
  static of(memory: WebAssembly.Memory): TransposingMemory | null {
    const module = compiled();
    return module && new TransposingMemory(memory, module);
  }

  /** Null where there are no vectors, or no address space for a memory. */
  static create(byteLength: number): TransposingMemory | null {
    try {
      return TransposingMemory.of(sharedMemory(byteLength));
    } catch (error) {
      if (error instanceof RangeError) return null;
      throw error;
    }
  }

  /** Transposes whole blocks; returns how many rows and columns, from the first, it did. */
  transpose(
    width: number,
    { source, target, rows, columns, sourceStride, targetStride }: Transposition,
  ): readonly [number, number] {
    const kernel = this.#kernels.get(width);
    const block = 16 / width;
    const [wholeRows, wholeColumns] = [rows - (rows % block), columns - (columns % block)];
    if (kernel === undefined || wholeRows === 0 || wholeColumns === 0) return [0, 0];
    kernel(source, target, wholeRows, wholeColumns, sourceStride, targetStride);
    return [wholeRows, wholeColumns];
  }
}

function kernelOf(exports: WebAssembly.Exports, width: number): Kernel {
  const kernel = exports[`t${width}`];
  if (typeof kernel !== "function") throw new Error(`no kernel for elements of ${width} bytes`);
  return (...numbers) => {
    kernel(...numbers);
  };
}
