// What people have and is not read here, named for what it is, with the next step. A kind is a row: of files (files.ts), of
// folders (folders.ts), of keys (keys.ts), of quantisation (quantised.ts), of PEFT (peft.ts).
import { InputError } from "../base/errors.ts";
import type { JsonObject } from "../base/json.ts";
import type { Checkpoint, TensorInfo } from "../formats/checkpoint.ts";
import type { Folder, Location } from "../formats/io/folder.ts";
import { fileKindNamed, fileKindOf } from "./files.ts";
import { type FolderKind, folderKindOf, mergeHelp, ZERO_HELP } from "./folders.ts";
import { keyKindOf } from "./keys.ts";
import { unmergedIn } from "./peft.ts";
import { quantisedBy } from "./quantised.ts";
import { seen } from "./seen.ts";

const CODES: ReadonlySet<string> = new Set([
  "QUANTISED_UNSUPPORTED",
  "PEFT_UNMERGED",
  "UNCONSOLIDATED",
  "LAYOUT_UNSUPPORTED",
]);

/** Whether an error says that tensors are of a kind that is known and not read: their container can still be. */
export const isForeign = ({ code }: InputError): boolean => CODES.has(code);

/**
 * What the error of opening is to be: that of the kind where the file or the folder is of one, else itself.
 * @param location what was to be opened
 */
export function namedFor(location: Location, error: unknown): unknown {
  if (!(error instanceof InputError)) return error;
  return (
    fileAtFault(location, error) ?? (location.file === null ? folderAtFault(location.folder, error) : null) ?? error
  );
}

function fileAtFault({ path, folder, file }: Location, { code, details }: InputError): InputError | null {
  if (code === "NOT_FOUND") return null;
  const named = file ?? folder.list().find((name) => details.file === name || details.file === folder.pathOf(name));
  const name = named ?? null;
  if (name === null) return null;
  const where = file === null ? folder.pathOf(name) : path;
  const found = seen(folder, name);
  const kind = found === null ? undefined : fileKindOf(found);
  if (kind === undefined) return null;
  const help = kind.help(where, folder.path);
  return kind.code === "TORCH_SCRIPT" ? torchScript(where, kind.what, help) : notACheckpoint(where, kind.what, help);
}

/** Errors after which a folder's names are looked at. */
const OF_FOLDERS = new Set(["NOT_A_CHECKPOINT", "AMBIGUOUS_CHECKPOINT", "SAFETENSORS_AMBIGUOUS"]);

function folderAtFault(folder: Folder, { code, details }: InputError): InputError | null {
  if (!OF_FOLDERS.has(code)) return null;
  const { path } = folder;
  const names = folder.list();
  const kind = folderKindOf(names, folder);
  if (kind !== undefined) return folderError(kind, path, kind.help(path, folder));
  if (code !== "NOT_A_CHECKPOINT" || details.help.includes("did you mean")) return null;
  for (const name of names) {
    const file = fileKindNamed(name);
    if (file !== undefined && folder.kind(name) !== "folder")
      return notACheckpoint(folder.pathOf(name), file.what, file.help(folder.pathOf(name), path));
  }
  return null;
}

function folderError({ code, what }: FolderKind, path: string, help: string): InputError {
  switch (code) {
    case "UNCONSOLIDATED":
      return unconsolidated(path, what, help);
    case "PEFT_UNMERGED":
      return new InputError("PEFT_UNMERGED", `${path}: ${what}`, { file: path, expected: WHOLE, found: what, help });
    case "NOT_A_CHECKPOINT":
      return notACheckpoint(path, what, help);
    default:
      throw code satisfies never;
  }
}

const WHOLE = "the weights of a whole model";

const unconsolidated = (path: string, what: string, help: string): InputError =>
  new InputError("UNCONSOLIDATED", `${path}: ${what}`, { file: path, expected: WHOLE, found: what, help });

const torchScript = (file: string, found: string, help: string): InputError =>
  new InputError("TORCH_SCRIPT", `${file}: ${found}`, { file, expected: "a state dict of torch.save", found, help });

const notACheckpoint = (file: string, what: string, help: string): InputError =>
  new InputError("NOT_A_CHECKPOINT", `${file}: ${what}`, {
    file,
    expected: "safetensors, a folder of torch.distributed.checkpoint, or a file of torch.save",
    found: what,
    help,
  });

/**
 * Throws InputError for weights of a kind that no layout has: UNCONSOLIDATED, PEFT_UNMERGED, QUANTISED_UNSUPPORTED.
 * @param tensors the model's, by their keys in the checkpoint
 */
export function refuseForeign(
  checkpoint: Checkpoint,
  tensors: ReadonlyMap<string, TensorInfo>,
  config: JsonObject | null,
): void {
  const { path, files } = checkpoint;
  refuseEmptied(checkpoint, tensors);
  const unmerged = unmergedIn(
    tensors.values(),
    files.some((name) => /^adapter_model\./.test(name)),
  );
  if (unmerged !== null) throw notMerged(path, unmerged);
  const quantised = quantisedBy(tensors, config);
  if (quantised === null) return;
  const { method, example, declared, help } = quantised;
  throw new InputError(
    "QUANTISED_UNSUPPORTED",
    `${path}: its weights are quantised by ${method}, which is not read here: "${example}"`,
    {
      tensor: example,
      file: path,
      expected: "plain weights, FP8 in blocks (weight_scale_inv) or MXFP4 (_blocks and _scales)",
      found: `${JSON.stringify(example)}; ${declared === null ? "no quantization_config" : JSON.stringify(declared).slice(0, 120)}`,
      help,
    },
  );
}

function notMerged(
  path: string,
  { example, hasBase }: { readonly example: string; readonly hasBase: boolean },
): InputError {
  const what = hasBase
    ? "LoRA or another adapter of PEFT stands unmerged beside its base"
    : "an adapter of PEFT (LoRA), not a model";
  return new InputError("PEFT_UNMERGED", `${path}: ${what}: "${example}"`, {
    tensor: example,
    file: path,
    expected: WHOLE,
    found: JSON.stringify(example),
    help: hasBase
      ? "merge it before saving, of a saved state after loading it into the same PeftModel: model.merge_and_unload().save_pretrained(OUT)"
      : mergeHelp(path),
  });
}

/** Throws InputError UNCONSOLIDATED for what ZeRO-3 leaves of a model in each rank's file: nobody's weights. */
export function refuseEmptied({ path }: Pick<Checkpoint, "path">, tensors: ReadonlyMap<string, TensorInfo>): void {
  const empty = [...tensors.values()].filter(({ shape }) => shape.length === 1 && shape[0] === 0).length;
  if (empty < 2 || empty * 2 < tensors.size) return;
  const what = `what ZeRO-3 leaves of a model: ${empty} of ${tensors.size} tensors are empty`;
  throw unconsolidated(path, what, ZERO_HELP);
}

/** The error for keys that no family knows and that a trainer's layout has; null for others. */
export function foreignLayout({ path, tensors }: Pick<Checkpoint, "path" | "tensors">): InputError | null {
  const found = keyKindOf(tensors.values());
  if (found === undefined) return null;
  const { kind, example } = found;
  return new InputError(
    "LAYOUT_UNSUPPORTED",
    `${path}: its keys are those of ${kind.whose}, which are not read here: "${example}"`,
    {
      tensor: example,
      file: path,
      expected: "keys of Hugging Face or of a layout that `families` lists",
      found: JSON.stringify(example),
      help: kind.help,
    },
  );
}
