// What the core sees of a model family before it has a config.
import type { JsonObject } from "../base/json.ts";
import type { Family } from "./family.ts";
import type { KnownCode } from "./known.ts";
import type { LayoutFacts } from "./layout.ts";
import type { UpstreamChange } from "./upstream.ts";

export interface Adapter {
  /** Name of the family as this tool reports it, e.g. `llama3`. */
  readonly family: string;
  /** `model_type`s of HF configs that belong to this family. */
  readonly modelTypes: readonly string[];
  /**
   * Models of many architectures have its keys. So it takes a checkpoint only by a config's `model_type` or by
   * `--family`.
   */
  readonly generic?: boolean | undefined;
  /** Variants of the family, `dense`, `moe`, …, for the table that `families` prints. */
  readonly flavours: readonly string[];
  readonly modalities: readonly string[];
  readonly hf: LayoutFacts;
  /** Native layouts; an HF checkpoint is converted to the first unless another is asked for. */
  readonly layouts: readonly [LayoutFacts, ...LayoutFacts[]];
  /** Storage encodings that its weights may have beside plain elements: `fp8`, `mxfp4`. */
  readonly encodings?: readonly string[] | undefined;
  /** Codes of the differences that its layouts may have; without it those of a config at hand, each accepted by name. */
  readonly known?: readonly KnownCode[] | undefined;
  /**
   * Configs that together have every key the family can have. Their tables recognise a checkpoint without a config.
   * HF's spelling; absent fields take the defaults of the HF class.
   */
  readonly probes: readonly JsonObject[];
  /** Changes of upstream that its graphs, or its files, depend on. */
  readonly changes?: readonly UpstreamChange[] | undefined;
  /** Where tables and graphs were read from: permalinks. */
  readonly sources: readonly string[];
  /**
   * Reads a config: HF's config.json (v4 or v5 spelling) or the trainer's own model args.
   * Throws InputError naming the field. `where` is the file, for messages and where formats differ by file name.
   * `shapes` are those of the tensors at hand, for sizes that a config leaves to them.
   */
  open(config: JsonObject, where: string, shapes?: Shapes): Family;
}

/** Shapes of tensors by their keys. */
export type Shapes = ReadonlyMap<string, readonly number[]>;
