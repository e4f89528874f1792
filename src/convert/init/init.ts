// `init`: a plan that writes seeded weights as a conversion writes any others, in every layout, format and rank count.
import { InputError } from "../../base/errors.ts";
import { FLOATS, type Float } from "../../base/floats.ts";
import { encodingNamed, quantisationOf } from "../../encodings/quantisation.ts";
import { layoutNamed } from "../../family/layout.ts";
import { locate, type PathOrLocation } from "../../formats/io/disk-folder.ts";
import { readConfig } from "../../model/configs/config-files.ts";
import { openModel } from "../../model/model.ts";
import { openCheckpoint } from "../../model/open.ts";
import { asHf } from "../../views/as-hf.ts";
import { type ConversionOptions, type ConversionPlan, planConversion } from "../plan.ts";
import { type SeededOptions, seededCheckpoint } from "./source.ts";

export interface InitOptions extends Omit<ConversionOptions, "config" | "ownConfig" | "layout" | "allowDrop"> {
  /** Any text; "0" unless given. */
  readonly seed?: string | undefined;
}

/**
 * For `convert` to carry out. The layout is `hf` unless another is asked for.
 * Throws what reading the config throws, InputError INIT_FAMILY, INIT_SHAPES, and what planning throws.
 */
export function planInit(config: PathOrLocation, target: string, options: InitOptions): ConversionPlan {
  const { seed = "0", to = "hf", dtype = [], adapters, family } = options;
  const { json } = readConfig(config);
  const wanted = dtype.map(typeOf).find((each) => each !== undefined);
  const { checkpoint: source, family: model } = seededCheckpoint(config, {
    ...{ adapters, family, seed },
    ...(wanted === undefined ? {} : { dtype: wanted }),
    like: like(config, options),
  });
  const declared = encodingNamed(quantisationOf(json));
  // No tensor of the source is in codes, so that the config's word needs ours.
  const encoding = options.encoding ?? (layoutNamed(model, to)?.side === "hf" ? (declared ?? undefined) : "none");
  const globs = dtype.filter((text) => text.includes("="));
  return planConversion(source, target, { ...options, to, dtype: globs, encoding, ownConfig: config });
}

/** `bf16` → BF16; undefined for `keep` and for `GLOB=TYPE`. */
const typeOf = (text: string): Float | undefined => FLOATS.find((float) => float === text.toUpperCase());

/** The tensors of a checkpoint beside the config, where the family leaves them to its files. */
function like(config: PathOrLocation, { adapters, family }: InitOptions): SeededOptions["like"] {
  const location = locate(config);
  if (location.file !== null) return undefined;
  try {
    const checkpoint = openCheckpoint(location);
    try {
      const model = openModel(checkpoint, { adapters, family });
      return model.adapter.generic === true ? new Map(asHf(model, {}).source.tensors) : undefined;
    } finally {
      checkpoint.close();
    }
  } catch (error) {
    if (error instanceof InputError) return undefined;
    throw error;
  }
}
