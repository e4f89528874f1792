// An adapter of PEFT, opened: its weights, its config, and what they change.
import { createHash } from "node:crypto";
import { InputError } from "../base/errors.ts";
import type { Checkpoint } from "../formats/checkpoint.ts";
import { ADAPTER_CONFIG } from "../formats/file-names.ts";
import { locate, type PathOrLocation } from "../formats/io/disk-folder.ts";
import { CONFIG_LIMIT, has, inFolder, type Location, readText } from "../formats/io/folder.ts";
import { openCheckpoint } from "../model/open.ts";
import { type LoraConfig, parseLoraConfig } from "./config.ts";
import { type AdapterParts, partsOf } from "./parts.ts";
import { type AddedBias, type Product, productsOf } from "./products.ts";

export interface PeftAdapter extends AdapterParts {
  readonly path: string;
  readonly checkpoint: Checkpoint;
  readonly config: LoraConfig;
  readonly products: readonly Product[];
  readonly biases: readonly AddedBias[];
  /** SHA-256 of the file of weights, in hex. */
  readonly sha256: string;
}

const WEIGHTS = ["adapter_model.safetensors", "adapter_model.bin"] as const;

/** @throws InputError ADAPTER_MISSING and what parsing throws */
export function openAdapter(at: PathOrLocation): PeftAdapter {
  const { path, folder, file } = locate(at);
  const weights = weightsOf({ path, folder, file });
  if (!has(folder, ADAPTER_CONFIG)) throw missing(path, ADAPTER_CONFIG, folder.list());
  const config = parseLoraConfig(readText(folder, ADAPTER_CONFIG, CONFIG_LIMIT), folder.pathOf(ADAPTER_CONFIG));
  const checkpoint = openCheckpoint(inFolder(folder, weights));
  try {
    const parts = partsOf(checkpoint);
    const products = productsOf(parts.pairs, config);
    const biases = products.flatMap(({ pair: { module, bias }, scale }) =>
      bias === null ? [] : [{ target: `${module}.bias`, info: bias, scale }],
    );
    return { path, checkpoint, config, products, biases, sha256: hashOf({ path, folder, file: weights }), ...parts };
  } catch (error) {
    checkpoint.close();
    throw error;
  }
}

function weightsOf({ path, folder, file }: Location): string {
  if (file !== null) return file;
  const found = WEIGHTS.find((name) => has(folder, name));
  if (found === undefined) throw missing(path, WEIGHTS[0], folder.list());
  return found;
}

const missing = (path: string, name: string, there: readonly string[]): InputError =>
  new InputError("ADAPTER_MISSING", `${path}: no adapter of PEFT: ${name} is not there`, {
    file: path,
    expected: `${ADAPTER_CONFIG} and ${WEIGHTS.join(" or ")}`,
    found: there.slice(0, 6).join(", ") || "an empty folder",
    help: "give the folder that PEFT's save_pretrained wrote: the adapter, not the base",
  });

const BLOCK = 2 ** 20;

function hashOf({ folder, file }: Location): string {
  const opened = folder.open(`${file}`);
  const hash = createHash("sha256");
  try {
    for (let at = 0; at < opened.byteLength; at += BLOCK) {
      const bytes = new Uint8Array(Math.min(BLOCK, opened.byteLength - at));
      opened.read(at, bytes);
      hash.update(bytes);
    }
  } finally {
    opened.close();
  }
  return hash.digest("hex");
}
