// What differs between the layers of one model: windows and rotary embeddings.
import type { ConfigReader } from "../common/config-reader.ts";
import { hfRopeObject } from "../common/rope-config.ts";
import type { Attention, Layer } from "./decoder.ts";
import { type DenseRope, parseDenseRope } from "./rope.ts";
import type { Traits } from "./traits/traits.ts";

interface Layers {
  readonly layers: readonly Layer[];
  /** The object that describes RoPE. */
  readonly rope: ConfigReader;
  readonly growth: Attention["growth"];
}

/** @param headDim rotated channels per head, before `partial_rotary_factor` */
export function parseLayers(config: ConfigReader, traits: Traits, headDim: number): Layers {
  const nLayers = config.layers("num_hidden_layers");
  const rotates = noRopeLayers(config, traits, nLayers);
  const windows = parseWindows(config, traits, nLayers, rotates);
  const { ropes, rope } = parseRopes(config, traits, headDim, windows);
  const layers = windows.map((window, i) => {
    const turns =
      traits.rotates === "windows"
        ? window !== null
        : traits.rotates === "windows, if any"
          ? window !== null || !config.has("sliding_window")
          : rotates(i);
    return { window, rope: turns ? ropes[i]! : null };
  });
  return { layers, rope, growth: traits.growth ? parseGrowth(config, rope) : null };
}

/** SmolLM3: every fourth layer has no positions unless the config says which. */
function noRopeLayers(config: ConfigReader, traits: Traits, nLayers: number): (i: number) => boolean {
  if (traits.rotates !== "no_rope_layers") return () => true;
  if (!config.has("no_rope_layers")) {
    const interval = config.size("no_rope_layer_interval", 4);
    return (i) => (i + 1) % interval !== 0;
  }
  const flags = config.list("no_rope_layers");
  if (flags.length !== nLayers) config.fail("no_rope_layers", `a list of ${nLayers} flags`);
  return (i) => flags[i] === 1 || flags[i] === true;
}

function parseWindows(
  config: ConfigReader,
  { windows }: Traits,
  nLayers: number,
  rotates: (i: number) => boolean,
): (number | null)[] {
  const all = (size: number | null) => Array.from({ length: nLayers }, () => size);
  if (windows.by === "none") return all(null);
  const isAsked = config.has("use_sliding_window") && config.boolean("use_sliding_window");
  const given = config.has("sliding_window")
    ? config.size("sliding_window")
    : config.isNull("sliding_window")
      ? null
      : windows.size;
  if (windows.by === "all") return all(given);
  const size = windows.asked && !isAsked ? null : given;
  const hasPattern = config.has("sliding_window_pattern") && !config.has("layer_types");
  const pattern = hasPattern ? config.size("sliding_window_pattern") : windows.pattern;
  const maxWindowLayers = config.has("max_window_layers") ? config.count("max_window_layers") : 28;
  const isSliding = config.has("layer_types")
    ? layerTypes(config, nLayers)
    : (i: number) => windows.isSliding(i, { size, pattern, maxWindowLayers, isAsked, rotates });
  return all(null).map((_, i) => {
    if (!isSliding(i)) return null;
    return size ?? config.fail("sliding_window", "a positive integer where layers have a sliding window");
  });
}

function layerTypes(config: ConfigReader, nLayers: number): (i: number) => boolean {
  const types = config.list("layer_types");
  const known = types.every((type) => type === "full_attention" || type === "sliding_attention");
  if (types.length !== nLayers || !known)
    config.fail("layer_types", `a list of ${nLayers} times "full_attention" or "sliding_attention"`);
  return (i) => types[i] === "sliding_attention";
}

function parseRopes(
  config: ConfigReader,
  traits: Traits,
  headDim: number,
  windows: readonly (number | null)[],
): { readonly ropes: readonly (DenseRope | null)[]; readonly rope: ConfigReader } {
  if (traits.ropeByType) return ropesByType(config, traits.ropeByType, traits, headDim, windows);
  const isSilent = !config.has("rope_scaling") && !config.has("rope_parameters");
  const rope = traits.rope && isSilent ? config.standIn("rope_parameters", traits.rope) : hfRopeObject(config);
  const base = parseRope(config, rope, traits, headDim);
  if (traits.rotates !== "layer_rope_theta" || !config.has("layer_rope_theta"))
    return { ropes: windows.map(() => base), rope };
  const thetas = config.list("layer_rope_theta");
  if (thetas.length !== windows.length) config.fail("layer_rope_theta", `a list of ${windows.length} numbers`);
  const ropes = thetas.map((theta) => {
    if (theta === 0 || theta === null) return null;
    if (typeof theta !== "number" || theta < 0) config.fail("layer_rope_theta", "a list of numbers");
    return { ...base, theta };
  });
  return { ropes, rope };
}

function parseRope(config: ConfigReader, rope: ConfigReader, traits: Traits, headDim: number): DenseRope {
  const { theta: defaultTheta } = traits;
  const maxPositions = config.size("max_position_embeddings", 2048);
  const dims = traits.partial === null ? headDim : partOf(config, rope, headDim, traits.partial);
  if (traits.partial === null)
    for (const reader of [config, rope]) reader.only("partial_rotary_factor", 1, "rotates a part of each head");
  const isAlpha =
    traits.ntkAlpha && rope.has("alpha") && rope.string("rope_type", rope.string("type", "")) === "dynamic";
  if (isAlpha) {
    const theta = rope.has("rope_theta") ? rope.number("rope_theta") : config.number("rope_theta", defaultTheta);
    return { kind: "default", theta: theta * rope.number("alpha") ** (dims / (dims - 2)), dims };
  }
  // Phi 3 reads any scaling as LongRoPE.
  if (traits.file === "phi3" && rope.string("rope_type", rope.string("type", "default")) === "yarn")
    rope.unsupported("rope_type", "default or longrope", "transformers' phi3 takes for longrope");
  return parseDenseRope(config, rope, { dims, maxPositions, defaultTheta });
}

/** ⌊H · partial_rotary_factor⌋ channels. */
function partOf(config: ConfigReader, rope: ConfigReader, headDim: number, byDefault: number): number {
  const reader = rope.has("partial_rotary_factor") ? rope : config;
  const factor = reader.has("partial_rotary_factor") ? reader.number("partial_rotary_factor") : byDefault;
  const dims = Math.floor(headDim * factor);
  if (dims > headDim || dims < 2 || dims % 2 !== 0)
    reader.fail("partial_rotary_factor", `a part of a head of ${headDim} channels that makes pairs`);
  return dims;
}

/**
 * Gemma 3 and Olmo 3 have one RoPE for layers with a window and another for layers without. v4's `rope_scaling` belongs
 * to layers without a window.
 */
function ropesByType(
  config: ConfigReader,
  thetas: NonNullable<Traits["ropeByType"]>,
  traits: Traits,
  headDim: number,
  windows: readonly (number | null)[],
): { readonly ropes: readonly DenseRope[]; readonly rope: ConfigReader } {
  const given = config.objectOrEmpty("rope_parameters");
  for (const field of ["rope_type", "type", "rope_theta", "factor"])
    if (given.has(field))
      given.unsupported(field, "rope_parameters by type of layer", `transformers' ${traits.file} does not read there`);
  const of = (
    type: "full_attention" | "sliding_attention",
    [field, byDefault]: readonly [string, number],
  ): DenseRope => {
    const own = given.objectOrEmpty(type);
    const isV4 = type === "full_attention" && config.has("rope_scaling");
    if (isV4 && !own.isEmpty())
      config.unsupported("rope_scaling", "one of rope_scaling and rope_parameters", "comes twice");
    const rope = isV4 ? config.object("rope_scaling") : own;
    // Olmo 3 uses v4's rope_theta only for layers without a window.
    const isTaken = type === "sliding_attention" && thetas.full[0] === field;
    const theta = !isTaken && config.has(field) ? config.number(field) : byDefault;
    for (const reader of [config, rope]) reader.only("partial_rotary_factor", 1, "rotates a part of each head");
    const maxPositions = config.size("max_position_embeddings", 2048);
    return parseDenseRope(config.empty("rope_parameters"), rope, { dims: headDim, maxPositions, defaultTheta: theta });
  };
  const [full, sliding] = [of("full_attention", thetas.full), of("sliding_attention", thetas.sliding)];
  return { ropes: windows.map((window) => (window === null ? full : sliding)), rope: given };
}

/** Ministral 3: queries beyond the first span of positions grow (Llama 4's temperature). */
function parseGrowth(config: ConfigReader, rope: ConfigReader): Attention["growth"] {
  const beta = rope.has("llama_4_scaling_beta") ? rope.number("llama_4_scaling_beta") : null;
  if (beta === null) return rope.fail("llama_4_scaling_beta", "a positive number");
  const field = "original_max_position_embeddings";
  return { beta, span: rope.has(field) ? rope.size(field) : config.size("max_position_embeddings") };
}
