// What preprocessor_config.json says: how a model's images become patches. Absent fields are those of the classes.
// huggingface/transformers@v5.23.0:src/transformers/models/{qwen2_vl,kimi_k25,muse_glimmer}/image_processing_*.py
import { existsSync } from "node:fs";
import { join } from "node:path";
import { InputError } from "../../base/errors.ts";
import type { JsonObject } from "../../family/adapter.ts";
import { isObject, readJsonObject } from "../inputs/text.ts";
import type { Resampling } from "./resize.ts";

type Triple = readonly [number, number, number];

/** Fields that every kind has. */
export interface CommonProcessor {
  readonly file: string;
  /** Null where images keep their size. */
  readonly resampling: Resampling | null;
  /** What values are multiplied by. */
  readonly rescale: number | null;
  readonly normalise: { readonly mean: Triple; readonly std: Triple } | null;
  readonly patchSize: number;
  readonly mergeSize: number;
}

export type ImageProcessor = CommonProcessor &
  (
    | {
        readonly kind: "qwen2_vl";
        readonly patchFrames: number;
        readonly minPixels: number;
        readonly maxPixels: number;
      }
    | { readonly kind: "kimi_k25"; readonly maxPatches: number; readonly maxPatchesPerSide: number }
    | { readonly kind: "muse_glimmer"; readonly patchFrames: number; readonly maxTokens: number }
  );

const FILES = ["processor_config.json", "preprocessor_config.json"] as const;
const KINDS = ["Qwen2VLImageProcessor", "Kimi_K25ImageProcessor", "MuseGlimmerImageProcessor"] as const;
const HELP = "give pixels, grids and ids as the model's Hugging Face processor makes them with --inputs";

const CLIP = {
  mean: [0.48145466, 0.4578275, 0.40821073],
  std: [0.26862954, 0.26130258, 0.27577711],
} as const;
const HALF = { mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5] } as const;

/** @param directories to look in, in order. @throws InputError PROCESSOR_MISSING, PROCESSOR_UNKNOWN or PROCESSOR_INVALID */
export function readProcessor(directories: readonly string[]): ImageProcessor {
  for (const directory of directories) {
    const found = FILES.map((name) => join(directory, name)).filter((file) => existsSync(file));
    for (const file of found) {
      const json = readJsonObject(file, "PROCESSOR_INVALID", HELP);
      // A processor's own file holds that of its images; it goes before a file of the older kind.
      if (isObject(json.image_processor)) return parseProcessor(json.image_processor, file);
      if (file.endsWith(FILES[1])) return parseProcessor(json, file);
    }
  }
  throw new InputError("PROCESSOR_MISSING", "no preprocessor_config.json beside the checkpoints or the tokenizer", {
    expected: FILES[1],
    found: `none in ${directories.join(", ")}`,
    help: `put the model's ${FILES[1]} beside its tokenizer.json; or ${HELP}`,
  });
}

function parseProcessor(json: JsonObject, file: string): ImageProcessor {
  const fields = isObject(json.media_proc_cfg) ? moonshotFields(json.media_proc_cfg, file) : new Fields(json, file);
  switch (fields.kind()) {
    case "Qwen2VLImageProcessor":
      return {
        ...common(fields, "bicubic", CLIP),
        kind: "qwen2_vl",
        patchFrames: fields.count("temporal_patch_size", 2),
        ...areaLimits(fields),
      };
    case "Kimi_K25ImageProcessor":
      return {
        ...common(fields, "bicubic", HALF),
        kind: "kimi_k25",
        maxPatches: fields.count("max_patches", 16384),
        maxPatchesPerSide: squareLimit(fields),
      };
    case "MuseGlimmerImageProcessor":
      return {
        ...common(fields, "lanczos", HALF),
        kind: "muse_glimmer",
        patchFrames: fields.count("temporal_patch_size", 2),
        maxTokens: fields.count("max_image_tokens", 4096),
      };
  }
}

/** As Moonshot's own repositories write it for a class of their own, of which transformers' is the native form. */
function moonshotFields(json: JsonObject, file: string): Fields {
  const { merge_kernel_size: merge, in_patch_limit: max_patches, patch_limit_on_one_side: side } = json;
  const written = new Fields(json, file, "media_proc_cfg.");
  if ((json.fixed_output_tokens ?? null) !== null) written.refuse("fixed_output_tokens", "null");
  const kernel: readonly unknown[] = Array.isArray(merge) ? merge : [merge, merge];
  if (kernel.length !== 2 || kernel[0] !== kernel[1]) written.refuse("merge_kernel_size", "one number for both sides");
  const respelled = {
    image_processor_type: "Kimi_K25ImageProcessor",
    merge_size: kernel[0],
    max_patches,
    ...(side === undefined ? {} : { size: { max_height: side, max_width: side } }),
  };
  return new Fields({ ...json, ...respelled }, file, "media_proc_cfg.");
}

function common(fields: Fields, resampling: Resampling, normal: { mean: Triple; std: Triple }): CommonProcessor {
  return {
    file: fields.file,
    resampling: fields.flag("do_resize", true) ? fields.resampling(resampling) : null,
    rescale: fields.flag("do_rescale", true) ? fields.positive("rescale_factor", 1 / 255) : null,
    normalise: fields.flag("do_normalize", true)
      ? { mean: fields.triple("image_mean", normal.mean), std: fields.triple("image_std", normal.std) }
      : null,
    patchSize: fields.count("patch_size", 14),
    mergeSize: fields.count("merge_size", 2),
  };
}

/** `min_pixels` and `max_pixels` go before `size`, where transformers 5 writes them. */
function areaLimits(fields: Fields): { readonly minPixels: number; readonly maxPixels: number } {
  const size = fields.object("size", { shortest_edge: 56 * 56, longest_edge: 28 * 28 * 1280 });
  const minPixels = fields.count("min_pixels", null) ?? size.count("shortest_edge");
  return { minPixels, maxPixels: fields.count("max_pixels", null) ?? size.count("longest_edge") };
}

function squareLimit(fields: Fields): number {
  const size = fields.object("size", { max_height: 512, max_width: 512 });
  const side = size.count("max_height");
  return size.count("max_width") === side ? side : size.refuse("max_width", `${side}, as max_height`);
}

/** Fields of the config; what is absent or null has the class's value. */
class Fields {
  constructor(
    private readonly json: JsonObject,
    readonly file: string,
    private readonly path = "",
  ) {}

  kind(): (typeof KINDS)[number] {
    const type = this.json.image_processor_type;
    const found = KINDS.find((kind) => typeof type === "string" && [kind, `${kind}Fast`, `${kind}Pil`].includes(type));
    if (found !== undefined) return found;
    const shown = type === undefined ? "no image_processor_type" : JSON.stringify(type);
    throw new InputError("PROCESSOR_UNKNOWN", `${this.file}: ${shown}: no image processor that is known here`, {
      file: this.file,
      expected: `image_processor_type: ${KINDS.join(", ")}`,
      found: shown,
      help: HELP,
    });
  }

  count(name: string): number;
  count(name: string, fallback: number): number;
  count(name: string, fallback: null): number | null;
  count(name: string, fallback?: number | null): number | null {
    const value = this.json[name] ?? fallback;
    if (value === null && fallback === null) return null;
    if (typeof value === "number" && Number.isSafeInteger(value) && value > 0) return value;
    return this.refuse(name, "a positive integer");
  }

  positive(name: string, fallback: number): number {
    const value = this.json[name] ?? fallback;
    return typeof value === "number" && Number.isFinite(value) && value > 0
      ? value
      : this.refuse(name, "a positive number");
  }

  flag(name: string, fallback: boolean): boolean {
    const value = this.json[name] ?? fallback;
    return typeof value === "boolean" ? value : this.refuse(name, "true or false");
  }

  /** One number counts for every colour. */
  triple(name: string, fallback: Triple): Triple {
    const value = this.json[name] ?? fallback;
    const list: readonly unknown[] = Array.isArray(value) ? value : [value, value, value];
    const [red, green, blue] = list.filter((x) => typeof x === "number");
    if (list.length !== 3 || red === undefined || green === undefined || blue === undefined) {
      return this.refuse(name, "three numbers");
    }
    if (name === "image_std" && red * green * blue === 0) return this.refuse(name, "three numbers that are not 0");
    return [red, green, blue];
  }

  /** Pillow's number. */
  resampling(fallback: Resampling): Resampling {
    const names = new Map<unknown, Resampling>([
      [1, "lanczos"],
      [2, "bilinear"],
      [3, "bicubic"],
    ]);
    const value = this.json.resample ?? null;
    if (value === null) return fallback;
    return names.get(value) ?? this.refuse("resample", "1 (Lanczos), 2 (bilinear) or 3 (bicubic)");
  }

  object(name: string, fallback: JsonObject): Fields {
    const value = this.json[name] ?? fallback;
    return isObject(value) ? new Fields(value, this.file, `${this.path}${name}.`) : this.refuse(name, "an object");
  }

  refuse(name: string, expected: string): never {
    const found = JSON.stringify(this.json[name]) ?? "nothing";
    const message = `${this.file}: "${this.path}${name}" is ${found}, expected ${expected}`;
    throw new InputError("PROCESSOR_INVALID", message, { file: this.file, expected, found, help: HELP });
  }
}
