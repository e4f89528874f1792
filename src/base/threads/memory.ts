// Memories of WebAssembly that threads share, found again by what lies in them: kernels work there without a copy.

const PAGE_BYTES = 65_536;

const memories = new WeakMap<ArrayBufferLike, WebAssembly.Memory>();

/** Of at least so many bytes. */
export function sharedMemory(byteLength: number): WebAssembly.Memory {
  const pages = Math.ceil(byteLength / PAGE_BYTES);
  const memory = new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
  memories.set(memory.buffer, memory);
  return memory;
}

/** The memory that a buffer is of; undefined of any other. */
export const memoryOf = (buffer: ArrayBufferLike): WebAssembly.Memory | undefined => memories.get(buffer);
