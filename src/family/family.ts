// What the core sees of a family at one concrete config; the typed config stays inside.
import type { JsonObject } from "../base/json.ts";
import type { Encodable } from "./encodable.ts";
import type { KnownCode } from "./known.ts";
import { type HfLayout, type Layout, type LayoutFacts, layoutNamed, type NativeLayout } from "./layout.ts";
import type { ImageProcessor } from "./processor.ts";
import type { Upstream, UpstreamChange } from "./upstream.ts";

/** How a vision-language model takes images: inputs are checked by it, and random inputs are made by it. */
export interface VisionInput {
  /** Values of one patch as the Hugging Face processor lays it out. */
  readonly patchDim: number;
  /** Rows (and columns) of patches that become one token. */
  readonly mergeSize: number;
  /** Id of the token that stands for one merged patch. */
  readonly imageToken: number;
  /** Id that stands for the frames of a video, where an upstream does not take it for text: there are no videos here yet. */
  readonly videoToken?: number | undefined;
  /** Ids around the tokens of an image, where the model has such. */
  readonly around: readonly [number, number] | null;
  /** Ids that ordinary text cannot have, `imageToken` among them. */
  readonly reserved: readonly number[];
  /** Makes patches of images. Without it, images have to be given as pixels. */
  readonly processor?: ImageProcessor | undefined;
}

/** What a config says of inputs and weights. */
export interface ModelFacts {
  readonly vocabSize: number;
  readonly maxPositions: number;
  /** Element type that the config declares for weights, as HF spells it (`bfloat16`), if it does. */
  readonly dtype: string | null;
  /** HF keys of norms that multiply by 1 + weight: zeros are what such a weight begins with. */
  readonly centredNorms?: RegExp | undefined;
  /** Only in a vision-language model. */
  readonly vision?: VisionInput | undefined;
  /** What only long inputs show, windows and chunks of attention aside: a parity on shorter ones says so. */
  readonly longOnly?: (() => readonly LongOnly[]) | undefined;
}

export interface LongOnly {
  /** `long frequencies of RoPE` */
  readonly what: string;
  /** Inputs of so many tokens do not show it. */
  readonly tokens: number;
}

/** What the mathematics uses: effective inverse frequencies, attention scale, eps, tying, sizes. */
export type MathFacts = Readonly<Record<string, number | boolean | string | readonly number[]>>;

/** A family at one concrete config. */
export interface Family extends ModelFacts {
  readonly family: string;
  /** As of the adapter. */
  readonly known?: readonly KnownCode[] | undefined;
  /** The versions of upstream that the graphs follow: those that the config tells of, unless `at` named others. */
  readonly upstream: Upstream;
  /** The same at other versions. */
  at(upstream: Partial<Upstream>): Family;
  /** The family at another config of the same file and tensors: one with a field changed. Throws InputError as `open` does. */
  reopened(config: JsonObject): Family;
  /** Changes of upstream that its graphs, or its files, depend on at this config. */
  readonly changes: readonly UpstreamChange[];
  /** What `--encoding` encodes. */
  readonly encodable?: Encodable | undefined;
  readonly hf: HfLayout;
  /** Native layouts; an HF checkpoint is converted to the first unless another is asked for. */
  readonly layouts: readonly [NativeLayout, ...NativeLayout[]];
  /** config.json for transformers. */
  hfConfig(): JsonObject;
  /** For comparison of configs. */
  math(): MathFacts;
}

/** A layout at this family's config. Throws RangeError for one of another family. */
export function bound(family: Family, { name }: Pick<LayoutFacts, "name">): Layout {
  const layout = layoutNamed(family, name);
  if (layout === undefined) throw new RangeError(`${family.family} has no layout ${name}`);
  return layout;
}

type Sides = Pick<Family, "hf" | "layouts">;

/**
 * The layout whose table knows the keys of `layout`: its own, or for `hf` the one that has a place for all that files of
 * Hugging Face hold.
 */
export const tableLayout = (family: Sides, layout: Layout): NativeLayout =>
  layout.side === "native" ? layout : openerOf(family);

/** The other side of that table: what tensors of `layout` become on their way through it. */
export const throughTable = (family: Sides, layout: Layout): Layout =>
  layout.side === "hf" ? openerOf(family) : family.hf;

/** Where tensors of `layout` go unless another is asked for: the first native one from `hf`, `hf` from any other. */
export const defaultTarget = ({ hf, layouts }: Sides, layout: Layout): Layout =>
  layout.side === "hf" ? layouts[0] : hf;

function openerOf({ hf: { openedBy }, layouts }: Sides): NativeLayout {
  if (openedBy === undefined) return layouts[0];
  const opener = layouts.find(({ name }) => name === openedBy);
  if (opener === undefined) throw new RangeError(`no layout ${openedBy} opens files of Hugging Face`);
  return opener;
}
