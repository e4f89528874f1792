// Casts between the floating-point types of weights, as torch does them on the CPU, in WebAssembly's vectors: what each makes of
// its values is measured as they pass. src/base/floats.ts has the bits; F64 goes to 16 bits by way of F32, as in torch.
import { FLOAT_BYTES, type Float } from "../floats.ts";
import { memoryOf, sharedMemory } from "../threads/memory.ts";
import { CAST_KERNELS } from "./kernels.ts";

/** What casts that round did to values, over calls. */
export interface Losses {
  /** Largest |cast - value| / |value| over finite values that stayed finite; 1 where one became zero. */
  maxRelativeError: number;
  /** Finite values that became infinite. */
  overflows: number;
  /** Values that became zero. */
  vanished: number;
  /** Whether any value is other than zero afterwards. */
  remains: boolean;
}

/** Elements of a turn of a kernel. */
const TURN = 8;
/** Elements that are staged at once: they stay in the L2 cache. */
export const STAGED = 2 ** 15;
const STAGE_BYTES = 8 * STAGED;

type Pair = `${Float}_${Float}`;

class Kernels {
  readonly #exports: WebAssembly.Exports;

  constructor(memory: WebAssembly.Memory) {
    compiled ??= new WebAssembly.Module(Buffer.from(CAST_KERNELS, "base64"));
    this.#exports = new WebAssembly.Instance(compiled, { host: { memory } }).exports;
  }

  /** @param count a multiple of `TURN` */
  run(pair: Pair, source: number, target: number, count: number, losses: Losses | undefined): void {
    this.#call("begin", losses?.maxRelativeError ?? 0);
    this.#call(pair, source, target, count);
    if (losses === undefined) return;
    losses.maxRelativeError = this.#call("worst");
    losses.overflows += this.#call("overflows");
    losses.vanished += this.#call("vanished");
    losses.remains ||= this.#call("remains") !== 0;
  }

  #call(name: string, ...numbers: number[]): number {
    const called = this.#exports[name];
    if (typeof called !== "function") throw new RangeError(`no kernel ${name}`);
    return Number(called(...numbers));
  }
}

let compiled: WebAssembly.Module | undefined;

/** One a memory. */
const instances = new WeakMap<WebAssembly.Memory, Kernels>();

function kernelsIn(memory: WebAssembly.Memory): Kernels {
  const known = instances.get(memory) ?? new Kernels(memory);
  instances.set(memory, known);
  return known;
}

/** Memory of this thread for elements that lie elsewhere. */
class Stage {
  readonly #memory = sharedMemory(2 * STAGE_BYTES);
  readonly #kernels = kernelsIn(this.#memory);
  readonly #source = new Uint8Array(this.#memory.buffer, 0, STAGE_BYTES);
  readonly #target = new Uint8Array(this.#memory.buffer, STAGE_BYTES, STAGE_BYTES);

  source(byteLength: number): Uint8Array {
    return this.#source.subarray(0, byteLength);
  }

  cast(from: Float, to: Float, count: number, losses: Losses | undefined): Uint8Array {
    const whole = Math.ceil(count / TURN) * TURN;
    // Zeros are nothing to measure.
    this.#source.fill(0, count * FLOAT_BYTES[from], whole * FLOAT_BYTES[from]);
    this.#kernels.run(`${from}_${to}`, 0, STAGE_BYTES, whole, losses);
    return this.#target.subarray(0, count * FLOAT_BYTES[to]);
  }
}

let stage: Stage | undefined;

/** Casts up to `STAGED` elements that `fill` puts where it is told; what is given back is good until the next cast. */
export function castStaged(
  [from, to]: readonly [Float, Float],
  count: number,
  losses: Losses | undefined,
  fill: (source: Uint8Array) => void,
): Uint8Array {
  stage ??= new Stage();
  fill(stage.source(count * FLOAT_BYTES[from]));
  return stage.cast(from, to, count, losses);
}

/** Casts as many elements as `target` has room for, from one type to another: where they lie, if that is one memory that threads share. */
export function castElements(
  [from, to]: readonly [Float, Float],
  source: Uint8Array,
  target: Uint8Array,
  losses: Losses | undefined,
): void {
  const [fromBytes, toBytes] = [FLOAT_BYTES[from], FLOAT_BYTES[to]];
  const count = target.length / toBytes;
  const memory = source.buffer === target.buffer ? memoryOf(source.buffer) : undefined;
  const inPlace = memory === undefined ? 0 : count - (count % TURN);
  if (memory !== undefined)
    kernelsIn(memory).run(`${from}_${to}`, source.byteOffset, target.byteOffset, inPlace, losses);
  for (let done = inPlace; done < count; done += STAGED) {
    const n = Math.min(STAGED, count - done);
    const own = source.subarray(done * fromBytes, (done + n) * fromBytes);
    const made = castStaged([from, to], n, losses, (staged) => staged.set(own));
    target.set(made, done * toBytes);
  }
}
