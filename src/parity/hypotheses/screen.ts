// A pass on the beginning of a golden's input, with hypotheses tried on it: each changes some weights, or the config.
import type { Backend, WeightSource } from "../../../numerics/backend.ts";
import type { Forward } from "../../../numerics/graph.ts";
import { LogitComparison } from "../../../numerics/metrics.ts";
import { Replay, type ReplayCost } from "../../../numerics/replay.ts";
import { type Trace, Tracer } from "../../../numerics/trace.ts";
import { byteLengthOf } from "../../base/dtype.ts";
import { InputError } from "../../base/errors.ts";
import type { Hints } from "../../faults/undo/undoing.ts";
import type { Golden } from "../inputs/golden.ts";
import type { SideWeights } from "../side.ts";
import type { Prefix } from "./prefix.ts";

export type Replaced = ReadonlyMap<string, WeightSource>;

/** What a hypothesis computes with. */
export interface Variant {
  /** Undefined where the forward pass is that of the model at hand. */
  readonly forward?: Forward | undefined;
  readonly replaced: Replaced;
}

export class Screen {
  private readonly tracer = new Tracer();
  private readonly replay: Replay;
  private base: Trace | undefined;
  /** Logits by the values that they are, where no weight is replaced: two configs may compute one thing. */
  private readonly known = new Map<unknown, number>();

  constructor(
    backend: Backend,
    private readonly weights: SideWeights,
    private readonly prefix: Prefix,
    private readonly golden: Golden,
    private readonly signal: AbortSignal | undefined,
  ) {
    const sources = new Map<string, WeightSource>();
    this.replay = new Replay(backend, (key) => {
      const source = sources.get(key) ?? inMemory(weights.weight(key));
      sources.set(key, source);
      return source;
    });
  }

  /** Runs the model as it is, or what a hypothesis left of it. @returns mean KL of the prefix' rows, in nats */
  async begin(forward: Forward, replaced: Replaced): Promise<number> {
    this.base = this.trace(forward)!;
    return this.klOf(await this.replay.hold(this.base, this.options(replaced)));
  }

  /** Experts that the prefix chose, by the name of the mixture. */
  get chosen(): NonNullable<Hints["chosen"]> {
    return new Map([...this.replay.chosen].map(([name, { experts }]) => [name, new Set(experts)]));
  }

  /** The pass that a variant runs; null where its weights do not fit, or where it computes what the model at hand does. */
  traced({ forward, replaced }: Variant): Trace | null {
    const trace = forward === undefined ? this.base! : this.trace(forward);
    if (trace === null || (trace.logits === this.base!.logits && replaced.size === 0)) return null;
    return trace;
  }

  cost(trace: Trace, { replaced }: Variant): number {
    return costOf(this.replay.cost(trace, replaced));
  }

  /** Mean KL of the prefix' rows, in nats. */
  async try(trace: Trace, { replaced }: Variant): Promise<number> {
    const known = replaced.size === 0 ? this.known.get(trace.logits) : undefined;
    if (known !== undefined) return known;
    const kl = this.klOf(await this.replay.logits(trace, this.options(replaced)));
    if (replaced.size === 0) this.known.set(trace.logits, kl);
    return kl;
  }

  private options(replaced: Replaced) {
    return { replaced, rows: this.prefix.rows, signal: this.signal };
  }

  private trace(forward: Forward): Trace | null {
    const { weights } = this;
    try {
      return this.tracer.trace(forward, (key) => weights.weight(key), {
        ...this.prefix.input,
        has: (key) => weights.has(key),
      });
    } catch (error) {
      if (error instanceof InputError || error instanceof RangeError) return null;
      throw error;
    }
  }

  private klOf(logits: Float32Array | Float64Array): number {
    const { begin, end } = this.prefix.rows;
    const comparison = new LogitComparison(this.prefix.input.ids_T.slice(begin, end), this.golden.vocab);
    comparison.add(this.golden.rows(begin, end), Float32Array.from(logits));
    return comparison.metrics().klMeanNats;
  }
}

/** To read an element and make a number of it takes about as long as so many FLOPs; so does an op of hardly any values. */
const READ_FLOPS = 4;
const OP_FLOPS = 4000;

export const costOf = ({ flops, elements, ops }: ReplayCost): number => flops + READ_FLOPS * elements + OP_FLOPS * ops;

/** Smaller weights are read once. */
const KEPT_BYTES = 1 << 20;

function inMemory(source: WeightSource): WeightSource {
  let bytes: Uint8Array | undefined;
  return {
    ...source,
    read(begin, target) {
      if (bytes === undefined) {
        const size = byteLengthOf(source.dtype, source.shape);
        if (size > KEPT_BYTES) return source.read(begin, target);
        bytes = new Uint8Array(size);
        source.read(0, bytes);
      }
      target.set(bytes.subarray(begin, begin + target.length));
    },
  };
}
