// RoPE of dense models: what adapters/common/rope-config.ts reads, and two kinds whose frequencies depend on how many tokens
// there are.
//   huggingface/transformers@v5.23.0:src/transformers/modeling_rope_utils.py
import { type RopeFrequencies, type RopeSpec, transformersFrequencies } from "../../numerics/rope.ts";
import type { ConfigReader } from "../common/config-reader.ts";
import { parseRope } from "../common/rope-config.ts";

/** `dynamic`: theta grows beyond maxPositions (NTK). `longrope`: a divisor for each frequency (arXiv:2402.13753). */
export type DenseRope =
  | RopeSpec
  | {
      readonly kind: "dynamic";
      readonly theta: number;
      readonly dims: number;
      readonly factor: number;
      readonly maxPositions: number;
    }
  | {
      readonly kind: "longrope";
      readonly theta: number;
      readonly dims: number;
      readonly short: readonly number[];
      readonly long: readonly number[];
      /** Longer inputs take `long`. */
      readonly originalMaxPositions: number;
      readonly attentionFactor: number;
    };

const f32 = Math.fround;

/** θ^(−2i/R) in f32, each divided by its factor. */
const inverse = (theta: number, dims: number, factor: (i: number) => number = () => 1) =>
  Float32Array.from({ length: dims >> 1 }, (_, i) => 1 / f32(f32(factor(i)) * f32(f32(theta) ** f32((2 * i) / dims))));

/** Frequencies for an input of so many tokens. */
export function frequenciesOf(rope: DenseRope, tokens: number): RopeFrequencies {
  switch (rope.kind) {
    case "dynamic": {
      const { theta, dims, factor, maxPositions } = rope;
      const length = Math.max(tokens, maxPositions);
      const growth = f32(f32(f32(factor * length) / maxPositions) - (factor - 1));
      const base = length === maxPositions ? theta : f32(theta * f32(growth ** (dims / (dims - 2))));
      return { invFreq: inverse(base, dims), attentionFactor: 1 };
    }
    case "longrope": {
      const factors = tokens > rope.originalMaxPositions ? rope.long : rope.short;
      return {
        invFreq: inverse(rope.theta, rope.dims, (i) => factors[i]!),
        attentionFactor: rope.attentionFactor,
      };
    }
    default:
      return transformersFrequencies(rope);
  }
}

export interface RopeSizes {
  /** Rotated channels of a head. */
  readonly dims: number;
  readonly maxPositions: number;
  readonly defaultTheta: number;
}

/** `rope` is the object that describes RoPE; `config` has the fields that v4 keeps outside it. */
export function parseDenseRope(config: ConfigReader, rope: ConfigReader, sizes: RopeSizes): DenseRope {
  const { dims, maxPositions, defaultTheta } = sizes;
  const typeField = rope.has("rope_type") ? "rope_type" : "type";
  const kind = rope.string(typeField, "default");
  const theta = rope.has("rope_theta") ? rope.number("rope_theta") : config.number("rope_theta", defaultTheta);
  if (kind === "longrope" || kind === "su") return parseLongRope(config, rope, { theta, dims, maxPositions });
  if (kind === "dynamic") return { kind, theta, dims, factor: rope.number("factor"), maxPositions };
  const field = "original_max_position_embeddings";
  if (kind !== "default" && kind !== "linear" && config.has(field))
    config.unsupported(field, "it in rope_parameters alone", "takes the place of what rope_parameters says");
  return parseRope(config, rope, dims, maxPositions, defaultTheta);
}

function parseLongRope(
  config: ConfigReader,
  rope: ConfigReader,
  sizes: { readonly theta: number; readonly dims: number; readonly maxPositions: number },
): DenseRope {
  const { theta, dims, maxPositions } = sizes;
  const field = "original_max_position_embeddings";
  const originalMaxPositions = (config.has(field) ? config : rope).size(field, maxPositions);
  const given = rope.optional("factor", rope.number);
  const factor = given ?? maxPositions / originalMaxPositions;
  const attentionFactor = rope.optional("attention_factor", rope.number);
  const derived = factor <= 1 ? 1 : Math.sqrt(1 + Math.log(factor) / Math.log(originalMaxPositions));
  return {
    kind: "longrope",
    theta,
    dims,
    short: factorsOf(rope, "short_factor", dims),
    long: factorsOf(rope, "long_factor", dims),
    originalMaxPositions,
    attentionFactor: attentionFactor ?? derived,
  };
}

function factorsOf(rope: ConfigReader, name: string, dims: number): number[] {
  const factors = rope.list(name).map((value) => (typeof value === "number" && value > 0 ? value : Number.NaN));
  if (factors.length !== dims / 2 || factors.includes(Number.NaN))
    rope.fail(name, `a list of ${dims / 2} positive numbers`);
  return factors;
}
