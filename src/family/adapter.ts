// What the core sees of a model family. A family is opened with a concrete config; its typed config stays inside.
import type { Forward, KnownDifference } from "../../numerics/graph.ts";
import type { JsonObject } from "../base/json.ts";
import type { Rule, Side } from "../table/rule.ts";
import type { Encodable } from "./encodable.ts";
import type { ImageProcessor } from "./processor.ts";

export type { JsonObject } from "../base/json.ts";

export interface Adapter {
  /** Name of the family as this tool reports it, e.g. `llama3`. */
  readonly family: string;
  /** `model_type`s of HF configs that belong to this family. */
  readonly modelTypes: readonly string[];
  /** Its keys are those of many models: it takes a checkpoint only by a config's `model_type` or the user's word. */
  readonly generic?: boolean;
  /** What the family can be: `dense`, `fused`, … for the matrix that `families` prints. */
  readonly flavours: readonly string[];
  readonly modalities: readonly string[];
  /** Native layouts in order of preference; each is a table against `hf`. */
  readonly layouts: readonly string[];
  /** Storage encodings that its weights may have beside plain elements: `fp8`, `mxfp4`. */
  readonly encodings?: readonly string[];
  /** Sides that have a forward graph, so that `parity` can run them. */
  readonly graphs: readonly Side[];
  /**
   * Configs that together show every key the family can have: by their tables a checkpoint is recognised that has no
   * config. HF's spelling; absent fields take the defaults of the HF class.
   */
  readonly probes: readonly JsonObject[];
  /** Where tables and graphs were read from: permalinks. */
  readonly sources: readonly string[];
  /**
   * Reads a config: HF's config.json (v4 or v5 spelling) or the trainer's own model args.
   * Throws InputError naming the field. `where` is the file, for messages and where formats differ by file name.
   * `shapes` are those of the tensors at hand, for sizes that a config leaves to them.
   */
  open(config: JsonObject, where: string, shapes?: ReadonlyMap<string, readonly number[]>): Family;
}

/** How a model that sees takes images, for inputs that are checked or made up. */
export interface VisionInput {
  /** Values of one patch as the Hugging Face processor lays it out. */
  readonly patchDim: number;
  /** Rows (and columns) of patches that become one token. */
  readonly mergeSize: number;
  /** Id of the token that stands for one merged patch. */
  readonly imageToken: number;
  /** Ids around the tokens of an image, where the model has such. */
  readonly around: readonly [number, number] | null;
  /** Ids that ordinary text cannot have, `imageToken` among them. */
  readonly reserved: readonly number[];
  /** What makes patches of images. Without it they have to be given as pixels. */
  readonly processor?: ImageProcessor | undefined;
}

/** A family at one concrete config. */
export interface Family {
  readonly family: string;
  readonly vocabSize: number;
  readonly maxPositions: number;
  /** Only of a model that sees. */
  readonly vision?: VisionInput | undefined;
  /** Element type that the config declares for weights, as HF spells it (`bfloat16`), if it does. */
  readonly dtype: string | null;
  /** What `--encoding` encodes. */
  readonly encodable?: Encodable | undefined;
  /** Sizes of the named axes; a list instead of a size names the indices in use. */
  axes(layout: string): Readonly<Record<string, number | readonly number[]>>;
  /** Rules of one native layout against `hf`. */
  rules(layout: string): readonly Rule[];
  /** config.json for transformers. */
  hfConfig(): JsonObject;
  /**
   * What else a layout's own loader reads, beside config.json. Throws InputError CONFIG_UNSUPPORTED where it has no way to
   * say what the config says.
   */
  layoutConfig?(layout: string): { readonly name: string; readonly json: JsonObject } | null;
  /** What the mathematics uses: effective inverse frequencies, attention scale, eps, tying, sizes. For comparison. */
  math(): Readonly<Record<string, number | boolean | string | readonly number[]>>;
  /** Forward pass over the keys of `hf` or of a native layout. Throws InputError NO_GRAPH where there is none. */
  forward(layout: string): Forward;
  /** Where `forward` of a native layout computes something else than that of `hf`, because upstream does. */
  knownDifferences(layout: string): readonly KnownDifference[];
}
