// XXH64 in WebAssembly. In a memory that threads share, whoever comes next goes on, without a copy.
import { XXH64_KERNEL, XXH64_KERNEL_UNSHARED } from "./kernel.ts";

/** What a hash that is under way takes of its memory. */
export const STATE_BYTES = 96;
/** Where the digest lies in it. */
const DIGEST = 80;
const PAGE_BYTES = 65_536;
/** Bytes from elsewhere pass by so many at a time: what was copied is hashed while it lies in the first cache. */
const STAGE_BYTES = 16_384;

/** For a thread whose program is text: `xxh64.update(state, address, length)`, `xxh64.digest(state)`, of `memory`. */
export const XXH64_PROGRAM = `
const xxh64 = new WebAssembly.Instance(new WebAssembly.Module(Buffer.from("${XXH64_KERNEL}", "base64")), { host: { memory } }).exports;
`;

const compiled = new Map<string, WebAssembly.Module>();

type Kernel = (...numbers: number[]) => void;

export class Xxh64 {
  readonly #memory: WebAssembly.Memory;
  readonly #state: number;
  readonly #digest: BigUint64Array;
  /** Takes bytes from elsewhere. */
  readonly #stage: Uint8Array;
  readonly #kernels: Readonly<Record<"init" | "update" | "digest", Kernel>>;

  /** @param state where it lies, a multiple of 8: others that know the place may go on with it */
  constructor(memory: WebAssembly.Memory, state: number, stage: Uint8Array) {
    this.#memory = memory;
    this.#state = state;
    this.#stage = stage;
    this.#digest = new BigUint64Array(memory.buffer, state + DIGEST, 1);
    const { exports } = new WebAssembly.Instance(moduleFor(memory), { host: { memory } });
    this.#kernels = {
      init: named(exports, "init"),
      update: named(exports, "update"),
      digest: named(exports, "digest"),
    };
    this.reset();
  }

  /** In a memory of its own. */
  static alone(): Xxh64 {
    const memory = new WebAssembly.Memory({ initial: 1, maximum: 1 });
    return new Xxh64(memory, 0, new Uint8Array(memory.buffer, PAGE_BYTES - STAGE_BYTES, STAGE_BYTES));
  }

  /** Begins anew. */
  reset(): this {
    this.#kernels.init(this.#state);
    return this;
  }

  update(bytes: Uint8Array): this {
    if (bytes.buffer === this.#memory.buffer) {
      this.#kernels.update(this.#state, bytes.byteOffset, bytes.length);
      return this;
    }
    const stage = this.#stage;
    for (let at = 0; at < bytes.length; at += stage.length) {
      const piece = bytes.subarray(at, at + stage.length);
      stage.set(piece);
      this.#kernels.update(this.#state, stage.byteOffset, piece.length);
    }
    return this;
  }

  /** In hex, of the bytes so far; more may follow. */
  digest(): string {
    this.#kernels.digest(this.#state);
    return this.found;
  }

  /** What a thread found that was asked for the digest. */
  get found(): string {
    return this.#digest[0]!.toString(16).padStart(16, "0");
  }
}

function moduleFor({ buffer }: WebAssembly.Memory): WebAssembly.Module {
  const text = buffer instanceof SharedArrayBuffer ? XXH64_KERNEL : XXH64_KERNEL_UNSHARED;
  const module = compiled.get(text) ?? new WebAssembly.Module(Buffer.from(text, "base64"));
  compiled.set(text, module);
  return module;
}

function named(exports: WebAssembly.Exports, name: string): Kernel {
  const kernel = exports[name];
  if (typeof kernel !== "function") throw new Error(`no kernel ${name}`);
  return (...numbers) => {
    kernel(...numbers);
  };
}
