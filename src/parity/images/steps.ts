// What the files beside a model say of its images, as its family reads them.
import { existsSync } from "node:fs";
import { join } from "node:path";
import { InputError } from "../../base/errors.ts";
import type { ImageProcessor, ImageSteps } from "../../family/processor.ts";
import { readJsonObject } from "../inputs/text.ts";

export interface ConfiguredSteps {
  /** The file that says so. */
  readonly file: string;
  readonly steps: ImageSteps;
}

const HELP = "give pixels, grids and ids as the model's Hugging Face processor makes them with --inputs";

/** @param directories to look in, in order. @throws InputError PROCESSOR_MISSING, PROCESSOR_UNKNOWN or PROCESSOR_INVALID */
export function readSteps(directories: readonly string[], processor: ImageProcessor): ConfiguredSteps {
  for (const directory of directories) {
    for (const name of processor.configs) {
      const file = join(directory, name);
      const steps = existsSync(file) ? processor.read(readJsonObject(file, "PROCESSOR_INVALID", HELP), file) : null;
      if (steps !== null) return { file, steps };
    }
  }
  const name = processor.configs.at(-1) ?? "config of its images";
  throw new InputError("PROCESSOR_MISSING", `no ${name} beside the checkpoints or the tokenizer`, {
    expected: processor.configs.join(" or "),
    found: `none in ${directories.join(", ")}`,
    help: `put the model's ${name} beside its tokenizer.json; or ${HELP}`,
  });
}

export const withoutProcessor = (image: string): InputError =>
  new InputError("PROCESSOR_UNKNOWN", `${image}: no image processor of this model's family is known here`, {
    file: image,
    expected: "a family with an image processor",
    found: "--image",
    help: HELP,
  });
