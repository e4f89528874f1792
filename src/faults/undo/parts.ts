// What a tensor is, by its Hugging Face key and the config: its layer, its tower, its heads, its experts.
import { isJsonObject, type JsonObject } from "../../base/json.ts";
import type { Sample } from "../fault.ts";

export interface Part {
  /** What is before the layer's number: `model.layers`; empty for a tensor of no layer. */
  readonly stack: string;
  readonly layer: number | null;
  /** The rest: `self_attn.k_proj.weight`, or the whole key. */
  readonly role: string;
}

const LAYER = /^(.*?\b(?:layers|blocks))\.(\d+)\.(.+)$/;
const EXPERT = /^(.*\bexperts)\.(\d+)\.(.+)$/;

const parts = new Map<string, Part>();

export function partOf(key: string): Part {
  let part = parts.get(key);
  if (part === undefined) {
    const [, stack, layer, role] = LAYER.exec(key) ?? [];
    part = role === undefined ? { stack: "", layer: null, role: key } : { stack: stack!, layer: Number(layer), role };
    if (parts.size < 1 << 16) parts.set(key, part);
  }
  return part;
}

export interface ExpertPart {
  /** `model.layers.3.mlp.experts` */
  readonly experts: string;
  readonly expert: number;
  /** `gate_proj.weight` */
  readonly role: string;
}

/** Of a tensor of one expert, where each has its own. */
export function expertPartOf(key: string): ExpertPart | null {
  const [, experts, expert, role] = EXPERT.exec(key) ?? [];
  return role === undefined ? null : { experts: experts!, expert: Number(expert), role };
}

/** Whether it belongs to what sees, not to what speaks. */
export const isVision = (key: string): boolean =>
  /(?:^|\.)(?:visual|vision_tower|vision_model|mm_projector|vision_)/.test(key);

const objectIn = (config: JsonObject, name: string): JsonObject => (isJsonObject(config[name]) ? config[name] : {});

/** The part of the config that a tensor belongs to. */
export function configFor({ config }: Sample, key: string): JsonObject {
  if (isVision(key)) return objectIn(config, "vision_config");
  return isJsonObject(config.text_config) ? config.text_config : config;
}

/** The first of these fields that is a number. */
export function numberAmong(config: JsonObject, ...fields: readonly string[]): number | undefined {
  for (const field of fields) if (typeof config[field] === "number") return config[field];
  return undefined;
}

/** Heads of queries and of keys, and channels of one. */
export interface Heads {
  readonly queries: number;
  readonly keys: number;
  readonly dim: number;
}

export function headsFor(sample: Sample, key: string): Heads | null {
  const config = configFor(sample, key);
  const queries = numberAmong(config, "num_attention_heads", "num_heads");
  const size = numberAmong(config, "hidden_size");
  if (queries === undefined) return null;
  const keys = isVision(key) ? queries : (numberAmong(config, "num_key_value_heads") ?? queries);
  const dim = (isVision(key) ? undefined : numberAmong(config, "head_dim")) ?? (size ?? 0) / queries;
  return Number.isInteger(dim) && dim > 1 ? { queries, keys, dim } : null;
}

/** Rotated channels of a head. */
export function rotatedOf(sample: Sample, key: string, dim: number): number {
  if (isVision(key)) return dim;
  const config = configFor(sample, key);
  const rope = { ...objectIn(config, "rope_scaling"), ...objectIn(config, "rope_parameters") };
  const factor = numberAmong(rope, "partial_rotary_factor") ?? numberAmong(config, "partial_rotary_factor") ?? 1;
  return Math.floor(dim * factor);
}

export interface Latent {
  readonly kvRank: number;
  readonly nope: number;
  readonly rope: number;
  readonly value: number;
  readonly heads: number;
}

/** Sizes of multi-head latent attention; null where attention is of another kind. */
export function latentFor(sample: Sample, key: string): Latent | null {
  const config = configFor(sample, key);
  const [kvRank, nope, rope, value, heads] = [
    "kv_lora_rank",
    "qk_nope_head_dim",
    "qk_rope_head_dim",
    "v_head_dim",
    "num_attention_heads",
  ].map((field) => numberAmong(config, field));
  if (kvRank === undefined || nope === undefined || rope === undefined || heads === undefined) return null;
  return { kvRank, nope, rope, value: value ?? nope, heads };
}

/** Sizes of a gated delta net. */
export function deltaFor(sample: Sample, key: string) {
  const config = configFor(sample, key);
  const [keyHeads, valueHeads, keyDim, valueDim] = [
    "linear_num_key_heads",
    "linear_num_value_heads",
    "linear_key_head_dim",
    "linear_value_head_dim",
  ].map((field) => numberAmong(config, field));
  if (keyHeads === undefined || valueHeads === undefined || keyDim === undefined || valueDim === undefined) return null;
  return { keyHeads, valueHeads, keyDim, valueDim };
}
