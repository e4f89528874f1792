// XXH64 in WebAssembly, of what lies in a memory that threads share: whoever comes next goes on, without a copy.
import { XXH64_KERNEL } from "./kernel.ts";

/** What a hash that is under way takes of its memory. */
export const STATE_BYTES = 96;
/** Where the digest lies in it. */
const DIGEST = 80;
const PAGE_BYTES = 65_536;

/** For a thread whose program is text: `xxh64.update(state, address, length)`, `xxh64.digest(state)`, of `memory`. */
export const XXH64_PROGRAM = `
const xxh64 = new WebAssembly.Instance(new WebAssembly.Module(Buffer.from("${XXH64_KERNEL}", "base64")), { host: { memory } }).exports;
`;

let compiled: WebAssembly.Module | undefined;

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
    compiled ??= new WebAssembly.Module(Buffer.from(XXH64_KERNEL, "base64"));
    const { exports } = new WebAssembly.Instance(compiled, { host: { memory } });
    this.#kernels = {
      init: named(exports, "init"),
      update: named(exports, "update"),
      digest: named(exports, "digest"),
    };
    this.reset();
  }

  /** In a memory of its own. */
  static alone(): Xxh64 {
    const memory = new WebAssembly.Memory({ initial: 2, maximum: 2, shared: true });
    return new Xxh64(memory, 0, new Uint8Array(memory.buffer, PAGE_BYTES, PAGE_BYTES));
  }

  /** Begins anew. */
  reset(): void {
    this.#kernels.init(this.#state);
  }

  update(bytes: Uint8Array): void {
    if (bytes.buffer === this.#memory.buffer) {
      this.#kernels.update(this.#state, bytes.byteOffset, bytes.length);
      return;
    }
    const stage = this.#stage;
    for (let at = 0; at < bytes.length; at += stage.length) {
      const piece = bytes.subarray(at, at + stage.length);
      stage.set(piece);
      this.#kernels.update(this.#state, stage.byteOffset, piece.length);
    }
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

function named(exports: WebAssembly.Exports, name: string): Kernel {
  const kernel = exports[name];
  if (typeof kernel !== "function") throw new Error(`no kernel ${name}`);
  return (...numbers) => {
    kernel(...numbers);
  };
}
