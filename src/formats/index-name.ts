// Names of the index of a sharded checkpoint, and of its shards: `model.safetensors.index.json` lists
// `model-00001-of-00002.safetensors`; of a variant, `model.safetensors.index.fp16.json` lists
// `model.fp16-00001-of-00002.safetensors`. Those of torch.save have `.bin` in place of `.safetensors`.
// Source: huggingface/transformers@v5.23.0:src/transformers/modeling_utils.py (`_add_variant`)

export interface IndexName {
  readonly kind: "safetensors" | "bin";
  /** What the names of its shards begin with; also the name of the checkpoint were it one file. */
  readonly stem: string;
}

/** Null for any other name. */
export function parseIndexName(name: string): IndexName | null {
  const [, base, kind, variant] = /^(.+)\.(safetensors|bin)\.index(?:\.([^.]+))?\.json$/.exec(name) ?? [];
  if (base === undefined || (kind !== "safetensors" && kind !== "bin")) return null;
  return { kind, stem: variant === undefined ? base : `${base}.${variant}` };
}

export interface ShardName {
  readonly stem: string;
  readonly number: number;
  readonly of: number;
}

/** Null for any other name. */
export function parseShardName(name: string): ShardName | null {
  const [, stem, number, of] = /^(.+)-(\d+)-of-(\d+)\.(?:safetensors|bin|pt|pth)$/.exec(name) ?? [];
  return stem === undefined ? null : { stem, number: Number(number), of: Number(of) };
}

/** Without those that are a variant of another, by their stems: `model.fp16` beside `model`. */
export const withoutVariants = <T>(items: readonly T[], stemOf: (item: T) => string): T[] =>
  items.filter((item) => !items.some((other) => stemOf(item).startsWith(`${stemOf(other)}.`)));
