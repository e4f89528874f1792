// What the files beside a model say of its images, as its family reads them.
import { InputError } from "../../base/errors.ts";
import type { ImageProcessor, ImageSteps } from "../../family/processor.ts";
import { type Folder, has } from "../../formats/io/folder.ts";
import { readJsonObject } from "../inputs/text-files.ts";

export interface ConfiguredSteps {
  /** The file that says so. */
  readonly file: string;
  readonly steps: ImageSteps;
}

const HELP = "give pixels, grids and ids as the model's Hugging Face processor makes them with --inputs";

/** @param folders to look in, in order. @throws InputError PROCESSOR_MISSING, PROCESSOR_UNKNOWN or PROCESSOR_INVALID */
export function readSteps(folders: readonly Folder[], processor: ImageProcessor): ConfiguredSteps {
  for (const folder of folders) {
    for (const name of processor.configs.filter((each) => has(folder, each))) {
      const file = folder.pathOf(name);
      const json = readJsonObject(folder, { name, code: "PROCESSOR_INVALID", help: HELP });
      const steps = processor.read(json, file);
      if (steps !== null) return { file, steps };
    }
  }
  const name = processor.configs.at(-1) ?? "config of its images";
  throw new InputError("PROCESSOR_MISSING", `no ${name} beside the checkpoints or the tokenizer`, {
    expected: processor.configs.join(" or "),
    found: `none in ${folders.map(({ path }) => path).join(", ")}`,
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
