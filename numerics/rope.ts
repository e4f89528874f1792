// Rotary position embedding (RoFormer, arXiv:2104.09864): frequencies as each upstream computes them, and tables.
// Both upstreams work in f32, so every torch operation on a tensor is one `fround` here. `scalar / tensor` is
// `tensor.reciprocal() * scalar` in torch, hence `overTensor`.
import { InputError } from "../src/base/errors.ts";
import type { RopeTable } from "./graph.ts";

/** Which rotation a model uses. `dims` is R, the number of rotated channels of a head; lengths are in tokens. */
export type RopeSpec =
  | { readonly kind: "default"; readonly theta: number; readonly dims: number }
  | { readonly kind: "linear"; readonly theta: number; readonly dims: number; readonly factor: number }
  | {
      readonly kind: "llama3";
      readonly theta: number;
      readonly dims: number;
      readonly factor: number;
      readonly lowFreqFactor: number;
      readonly highFreqFactor: number;
      readonly originalMaxPositions: number;
    }
  | {
      readonly kind: "yarn";
      readonly theta: number;
      readonly dims: number;
      readonly factor: number;
      readonly betaFast: number;
      readonly betaSlow: number;
      readonly originalMaxPositions: number;
      readonly truncate: boolean;
      /** Factor on cos and sin where the config gives one; else it follows from `factor`, `mscale`, `mscaleAllDim`. */
      readonly attentionFactor?: number;
      readonly mscale?: number;
      readonly mscaleAllDim?: number;
    };

export type Llama3Rope = Extract<RopeSpec, { kind: "llama3" }>;
export type YarnRope = Extract<RopeSpec, { kind: "yarn" }>;

export interface RopeFrequencies {
  /** Radians per token, R/2 values. */
  readonly invFreq: Float32Array;
  /** Multiplies cos and sin. */
  readonly attentionFactor: number;
}

const f32 = Math.fround;
const overTensor = (scalar: number, x: number): number => f32(f32(1 / x) * f32(scalar));

/** θ^(2i/R) for i < R/2. */
function powers(theta: number, dims: number): Float32Array {
  return Float32Array.from({ length: dims >> 1 }, (_, i) => f32(f32(theta) ** f32((2 * i) / dims)));
}

/** θ^(−2i/R), the unscaled frequencies of both upstreams. */
function unscaled(theta: number, dims: number): Float32Array {
  return powers(theta, dims).map((p) => f32(1 / p));
}

/**
 * Frequencies of transformers.
 * huggingface/transformers@v5.23.0:src/transformers/modeling_rope_utils.py, ROPE_INIT_FUNCTIONS
 */
export function transformersFrequencies(spec: RopeSpec): RopeFrequencies {
  switch (spec.kind) {
    case "default":
      return { invFreq: unscaled(spec.theta, spec.dims), attentionFactor: 1 };
    case "linear":
      return {
        invFreq: unscaled(spec.theta, spec.dims).map((f) => f32(f / f32(spec.factor))),
        attentionFactor: 1,
      };
    case "llama3":
      return { invFreq: transformersLlama3(spec), attentionFactor: 1 };
    case "yarn":
      return { invFreq: transformersYarn(spec), attentionFactor: transformersAttentionFactor(spec) };
    default:
      throw spec satisfies never;
  }
}

/** `_compute_llama3_parameters`: long wavelengths are stretched by `factor`, medium ones interpolated. */
function transformersLlama3(spec: Llama3Rope): Float32Array {
  const { factor, lowFreqFactor, highFreqFactor, originalMaxPositions } = spec;
  const lowFreqWavelen = f32(originalMaxPositions / lowFreqFactor);
  const highFreqWavelen = f32(originalMaxPositions / highFreqFactor);
  return unscaled(spec.theta, spec.dims).map((freq) => {
    const wavelen = overTensor(2 * Math.PI, freq);
    const isLong = wavelen > lowFreqWavelen;
    const scaled = isLong ? f32(freq / f32(factor)) : freq;
    if (wavelen < highFreqWavelen || isLong) return scaled;
    const smooth = f32(
      f32(overTensor(originalMaxPositions, wavelen) - f32(lowFreqFactor)) / f32(highFreqFactor - lowFreqFactor),
    );
    return f32(f32(f32(f32(1 - smooth) * scaled) / f32(factor)) + f32(smooth * scaled));
  });
}

/** `_compute_yarn_parameters`, YaRN (arXiv:2309.00071) §3.2. */
function transformersYarn(spec: YarnRope): Float32Array {
  const ramp = yarnRamp(spec);
  return powers(spec.theta, spec.dims).map((p, i) => {
    const extrapolation = f32(1 / p);
    const interpolation = f32(1 / f32(f32(spec.factor) * p));
    const keep = f32(1 - ramp[i]!);
    return f32(f32(interpolation * f32(1 - keep)) + f32(extrapolation * keep));
  });
}

/** YaRN §3.4; DeepSeek's quotient of two scales where the config names both. */
function transformersAttentionFactor(spec: YarnRope): number {
  if (spec.attentionFactor !== undefined) return spec.attentionFactor;
  const scale = (m: number) => (spec.factor <= 1 ? 1 : 0.1 * m * Math.log(spec.factor) + 1);
  return spec.mscale && spec.mscaleAllDim ? scale(spec.mscale) / scale(spec.mscaleAllDim) : scale(1);
}

/**
 * Frequencies of torchtitan: `ComplexRoPE` rotates adjacent pairs, `CosSinRoPE` halves. Neither scales cos and sin:
 * a model that wants YaRN's attention factor folds it into its softmax scale, and the dense ones do not.
 * pytorch/torchtitan@v0.3.0:torchtitan/models/common/rope.py
 * @throws InputError where that class has no such scaling.
 */
export function torchtitanFrequencies(spec: RopeSpec, rope: "ComplexRoPE" | "CosSinRoPE"): RopeFrequencies {
  const freqs = unscaled(spec.theta, spec.dims);
  switch (spec.kind) {
    case "default":
      return { invFreq: freqs, attentionFactor: 1 };
    case "llama3":
      if (rope === "CosSinRoPE") throw notInTorchtitan(spec.kind, rope);
      return { invFreq: torchtitanLlama(freqs, spec), attentionFactor: 1 };
    case "yarn":
      return { invFreq: spec.factor > 1 ? torchtitanYarn(freqs, spec) : freqs, attentionFactor: 1 };
    case "linear":
      throw notInTorchtitan(spec.kind, rope);
    default:
      throw spec satisfies never;
  }
}

/** `scaling="llama"`. */
function torchtitanLlama(freqs: Float32Array, spec: Llama3Rope): Float32Array {
  const low = f32(spec.originalMaxPositions / spec.lowFreqFactor);
  const high = f32(spec.originalMaxPositions / spec.highFreqFactor);
  const span = f32(spec.highFreqFactor - spec.lowFreqFactor);
  const out = new Float32Array(freqs.length);
  for (const [i, freq] of freqs.entries()) {
    const wavelength = overTensor(2 * Math.PI, freq);
    const divided = wavelength > low ? f32(freq / f32(spec.factor)) : freq;
    const smooth = f32(f32(overTensor(spec.originalMaxPositions, wavelength) - f32(spec.lowFreqFactor)) / span);
    const blended = f32(f32(f32(f32(1 - smooth) * divided) / f32(spec.factor)) + f32(smooth * divided));
    out[i] = wavelength >= high && wavelength <= low ? blended : divided;
  }
  return out;
}

/** `_yarn_inv_freq`. */
function torchtitanYarn(freqs: Float32Array, spec: YarnRope): Float32Array {
  const ramp = yarnRamp(spec);
  return freqs.map((freq, i) => f32(f32(f32(freq / f32(spec.factor)) * ramp[i]!) + f32(freq * f32(1 - ramp[i]!))));
}

/** 0 where a channel keeps its frequency, 1 where positions are interpolated; YaRN eq. 18, written alike upstream. */
function yarnRamp(spec: YarnRope): Float32Array {
  const { dims, theta, originalMaxPositions } = spec;
  const channelOf = (rotations: number) =>
    (dims * Math.log(originalMaxPositions / (rotations * 2 * Math.PI))) / (2 * Math.log(theta));
  const round = spec.truncate ? Math : { floor: (x: number) => x, ceil: (x: number) => x };
  const low = Math.max(round.floor(channelOf(spec.betaFast)), 0);
  let high = Math.min(round.ceil(channelOf(spec.betaSlow)), dims - 1);
  if (low === high) high += 0.001;
  return Float32Array.from({ length: dims >> 1 }, (_, i) =>
    Math.min(1, Math.max(0, f32(f32(i - f32(low)) / f32(high - low)))),
  );
}

function notInTorchtitan(kind: string, rope: string): InputError {
  return new InputError("ROPE_NOT_IN_TORCHTITAN", `torchtitan's ${rope} has no "${kind}" scaling of RoPE`, {
    expected: rope === "ComplexRoPE" ? "default, llama3 or yarn" : "default or yarn",
    found: kind,
    help: "compare the Hugging Face side with --golden instead; torchtitan cannot run this model",
  });
}

/**
 * cos and sin of every position: angle = f32(position · inv_freq), its cos and sin taken in f64 and rounded to f32,
 * then multiplied by the attention factor in f32.
 */
export function ropeTable({ invFreq, attentionFactor }: RopeFrequencies, positions: readonly number[]): RopeTable {
  const pairs = invFreq.length;
  const cos = new Float32Array(positions.length * pairs);
  const sin = new Float32Array(positions.length * pairs);
  const factor = f32(attentionFactor);
  for (const [t, position] of positions.entries()) {
    for (let i = 0; i < pairs; i++) {
      const angle = f32(position * invFreq[i]!);
      cos[t * pairs + i] = f32(Math.cos(angle)) * factor;
      sin[t * pairs + i] = f32(Math.sin(angle)) * factor;
    }
  }
  return { tokens: positions.length, pairs, cos, sin };
}
