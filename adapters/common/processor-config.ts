// Config of a transformers image processor: preprocessor_config.json, or the same fields inside processor_config.json.
// An absent field takes the default of the class.
import { InputError } from "../../src/base/errors.ts";
import type { JsonObject } from "../../src/base/json.ts";
import type { Colours, Filter, ImageProcessor, ImageSteps, Resizing } from "../../src/family/processor.ts";
import { isJsonObject } from "./config-reader.ts";

const OF_PROCESSOR = "processor_config.json";
const OF_IMAGES = "preprocessor_config.json";
const HELP = "give pixels, grids and ids as the model's Hugging Face processor makes them with --inputs";

/**
 * @param type its `image_processor_type`; the names of its variants, `Fast` and `Pil`, count as well
 * @param respelled reads a config written for another class of the same model; null where the config is no such
 */
export const hfImageProcessor = (
  type: string,
  steps: (fields: ProcessorFields) => ImageSteps,
  respelled: (json: JsonObject, file: string) => ProcessorFields | null = () => null,
): ImageProcessor => ({
  // The newer processor_config.json takes precedence.
  configs: [OF_PROCESSOR, OF_IMAGES],
  read(json, file) {
    const ofImages = file.split(/[/\\]/).at(-1) === OF_PROCESSOR ? null : json;
    const own = isJsonObject(json.image_processor) ? json.image_processor : ofImages;
    if (own === null) return null;
    const other = respelled(own, file);
    if (other !== null) return steps(other);
    checkType(own.image_processor_type, type, file);
    return steps(new ProcessorFields(own, file));
  },
});

function checkType(found: unknown, type: string, file: string): void {
  if (typeof found === "string" && [type, `${type}Fast`, `${type}Pil`].includes(found)) return;
  const shown = found === undefined ? "no image_processor_type" : JSON.stringify(found);
  throw new InputError("PROCESSOR_UNKNOWN", `${file}: ${shown}: not the image processor of this model's family`, {
    file,
    expected: `image_processor_type: ${type}`,
    found: shown,
    help: HELP,
  });
}

/** Rescaling, normalisation and patch sizes, whose fields have the same names in all classes. */
export const pixelSteps = (
  fields: ProcessorFields,
  { mean, std }: { readonly mean: Colours; readonly std: Colours },
): Pick<ImageSteps, "rescale" | "normalise" | "patchSize" | "mergeSize"> => ({
  rescale: fields.flag("do_rescale", true) ? fields.positive("rescale_factor", 1 / 255) : null,
  normalise: fields.flag("do_normalize", true)
    ? { mean: fields.colours("image_mean", mean), std: fields.deviations("image_std", std) }
    : null,
  patchSize: fields.count("patch_size", 14),
  mergeSize: fields.count("merge_size", 2),
});

export const resizing = (fields: ProcessorFields, filter: Filter, sizeOf: Resizing["sizeOf"]): Resizing | null =>
  fields.flag("do_resize", true) ? { filter: fields.filter(filter), sizeOf } : null;

/** `IMAGENET_STANDARD_MEAN` and `_STD`. */
export const HALF = { mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5] } as const;

/** Fields of the config; what is absent or null has the fallback. Every method throws InputError PROCESSOR_INVALID. */
export class ProcessorFields {
  /** @param path where the object stands in the file, `size.` */
  constructor(
    private readonly json: JsonObject,
    private readonly file: string,
    private readonly path = "",
  ) {}

  /** A positive integer. */
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

  /** One number stands for all colours. */
  colours(name: string, fallback: Colours): Colours {
    const value = this.json[name] ?? fallback;
    const list: readonly unknown[] = Array.isArray(value) ? value : [value, value, value];
    const [red, green, blue] = list.filter((x) => typeof x === "number");
    if (list.length !== 3 || red === undefined || green === undefined || blue === undefined) {
      return this.refuse(name, "three numbers");
    }
    return [red, green, blue];
  }

  deviations(name: string, fallback: Colours): Colours {
    const all = this.colours(name, fallback);
    return all.includes(0) ? this.refuse(name, "three numbers that are not 0") : all;
  }

  /** `resample`, Pillow's number. */
  filter(fallback: Filter): Filter {
    const filters = new Map<unknown, Filter>([
      [1, "lanczos"],
      [2, "bilinear"],
      [3, "bicubic"],
    ]);
    const value = this.json.resample ?? null;
    if (value === null) return fallback;
    return filters.get(value) ?? this.refuse("resample", "1 (Lanczos), 2 (bilinear) or 3 (bicubic)");
  }

  object(name: string, fallback: JsonObject): ProcessorFields {
    const value = this.json[name] ?? fallback;
    return isJsonObject(value)
      ? new ProcessorFields(value, this.file, `${this.path}${name}.`)
      : this.refuse(name, "an object");
  }

  refuse(name: string, expected: string): never {
    const found = JSON.stringify(this.json[name]) ?? "nothing";
    const message = `${this.file}: "${this.path}${name}" is ${found}, expected ${expected}`;
    throw new InputError("PROCESSOR_INVALID", message, { file: this.file, expected, found, help: HELP });
  }
}
