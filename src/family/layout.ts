// A layout: the keys and dims under which one trainer saves the models of a family. No code compares names of layouts:
// `side` says on which side of the tables a layout stands.
import type { Forward, KnownDifference } from "../../numerics/graph.ts";
import type { JsonObject } from "../base/json.ts";
import type { Rule, Side } from "../table/rule.ts";

/** Sizes of the named axes; a list instead of a size names the indices in use. */
export type Axes = Readonly<Record<string, number | readonly number[]>>;

/** What is known of a layout whatever the config. */
export interface LayoutFacts {
  /** As users, records and reports name it: `hf`, `torchtitan-0.2`. */
  readonly name: string;
  /** Who saves it: `transformers`, `torchtitan`, `vllm`. */
  readonly trainer: string;
  readonly side: Side;
  /** First revision of the trainer that saves it, a release or a day of its main branch; absent where it is not known. */
  readonly since?: string | undefined;
  /** First revision that no longer saves it; absent where the trainer still does. */
  readonly until?: string | undefined;
  /** Whether it is saved as rank shards, a file each. */
  readonly ranked: boolean;
  /** Why `parity` cannot run it; null where there is a forward graph. */
  readonly noGraph: string | null;
  /** What the arguments of a run of the trainer say of the model; absent where its checkpoints keep none. */
  readonly configOf?: ((args: JsonObject, where: string, keys: Iterable<string>) => RunConfig) | undefined;
}

/** Arguments of a run as a config. */
export interface RunConfig {
  /** Fields of HF's config, those that the arguments give. */
  readonly fields: JsonObject;
  /** A whole config, `model_type` aside; null where the arguments are too few for one. */
  readonly whole: JsonObject | null;
  /** Whether the vocabulary of `whole` is the padded one: of the model's own the arguments say nothing. */
  readonly isPadded: boolean;
  /** Rows of the embedding, and the multiple that they were padded to; null where the arguments do not say. */
  readonly vocabulary: { readonly rows: number; readonly multiple: number } | null;
}

interface BoundLayout extends LayoutFacts {
  /** Forward pass over its keys. Throws InputError NO_GRAPH where there is none, of the layout or at this config. */
  forward(): Forward;
}

/** Hugging Face's own layout. Every table maps to it, so it needs none. */
export interface HfLayout extends BoundLayout {
  readonly side: "hf";
  /** The layout whose table opens its files, where the first one has no place for all that they hold. */
  readonly openedBy?: string | undefined;
}

/** A trainer's layout at one config: a table against `hf`. */
export interface NativeLayout extends BoundLayout {
  readonly side: "native";
  rules(): readonly Rule[];
  axes(): Axes;
  /**
   * Whether the rules and axes are certainly those of another, at another config, as nothing that they ask of a config
   * differs: told without making the other's.
   */
  hasTableOf?(other: NativeLayout): boolean;
  /** Where `forward` computes something else than that of `hf`, because upstream does. */
  differences(): readonly KnownDifference[];
  /**
   * What the layout's own loader reads beside config.json. Throws InputError CONFIG_UNSUPPORTED where it has no way to say
   * what the config says.
   */
  files(): readonly LayoutFile[];
  /** Tensors whose rows the trainer pads, and how many rows are the model's; none unless given. */
  padded?(): ReadonlyMap<string, number>;
  /** Entries of a DCP that hold nothing, and that the layout's own loader asks for all the same; none unless given. */
  emptyEntries?(): readonly string[];
  /** Where files may hold a tensor that `forward` asks for, as a row of one that stacks it with others; nowhere else unless given. */
  stackOf?(key: string): StackRow | null;
}

/** Index of the outermost dimension of a tensor. */
export interface StackRow {
  readonly key: string;
  readonly row: number;
}

export interface LayoutFile {
  readonly name: string;
  readonly json: JsonObject;
  /** Whether it is a file of torch.save, not of JSON. */
  readonly pickled?: boolean;
  /** Of a pickled one, the fields that are a namespace of argparse, not a dict. */
  readonly namespaces?: readonly string[];
  /** The format beside whose weights it belongs; any unless given. */
  readonly beside?: "dcp";
}

/** A layout at one config. */
export type Layout = HfLayout | NativeLayout;

/** The keys of the files as they are, of any model: `--to raw`. */
export const RAW = { name: "raw", side: "raw" } as const;

/** Where tensors stand: in a layout, or as they are. */
export type Place = Layout | typeof RAW;

/** Whether two layouts of one family are the same. */
export const isSameLayout = (a: Pick<LayoutFacts, "name">, b: Pick<LayoutFacts, "name">): boolean => a.name === b.name;

interface Layouts<H extends LayoutFacts, N extends LayoutFacts> {
  readonly hf: H;
  readonly layouts: readonly N[];
}

/** Every layout of an adapter or of a family, `hf` first. */
export const layoutsOf = <H extends LayoutFacts, N extends LayoutFacts>({ hf, layouts }: Layouts<H, N>): (H | N)[] => [
  hf,
  ...layouts,
];

/** The layout that a user or a record names; undefined where there is none of that name. */
export const layoutNamed = <H extends LayoutFacts, N extends LayoutFacts>(
  of: Layouts<H, N>,
  name: string,
): H | N | undefined => layoutsOf(of).find((layout) => layout.name === name);

/** Sides of which some layout has a forward graph: with both, `parity` can compare them. */
export const graphsOf = ({ hf, layouts }: Layouts<LayoutFacts, LayoutFacts>): readonly Side[] => [
  ...(layouts.some(({ noGraph }) => noGraph === null) ? (["native"] as const) : []),
  ...(hf.noGraph === null ? (["hf"] as const) : []),
];
