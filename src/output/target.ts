import { basename, extname } from "node:path";
import { isAddress } from "../base/addresses.ts";
import { UsageError } from "../base/errors.ts";
import type { Format } from "../formats/checkpoint.ts";
import { entryAt } from "./exchange.ts";

/** Where a conversion writes to: one file, or a directory. */
export interface Target {
  readonly path: string;
  readonly format: Format;
  /** Name of the one file, where the path is a file; null for a directory. */
  readonly fileName: string | null;
}

const FILE_FORMATS: Readonly<Record<string, Format>> = { ".safetensors": "safetensors", ".pt": "pt", ".pth": "pt" };

/** Endings of files, whatever is in them: a directory of such a name would be taken for one. */
const OTHER_FILES: readonly string[] = [
  ...["bin", "ckpt", "distcp", "metadata", "pkl", "pickle", "joblib", "torchscript", "ptl", "pte", "mar", "nemo"],
  ...["gguf", "ggml", "llamafile", "onnx", "engine", "tflite", "pb", "h5", "hdf5", "keras", "msgpack", "mlmodel"],
  ...["pdparams", "npy", "npz", "json", "jsonl", "yaml", "yml", "toml", "txt", "md", "py", "html", "xml", "csv"],
  ...["zip", "tar", "gz", "tgz", "bz2", "xz", "zst", "7z"],
];

/**
 * Whether a path names a file or a directory, and in which format. Throws UsageError where the two disagree, and for
 * endings of files that are never written; of what stands there already, `checkTarget` says more.
 */
export function targetAt(path: string, format: Format | undefined, fallback: Format): Target {
  refuseAddress(path);
  const extension = extname(path).toLowerCase();
  const byName = FILE_FORMATS[extension];
  if (entryAt(path) === null) refuseOtherFile(path);
  if (byName === undefined) return { path, format: format ?? fallback, fileName: null };
  if (format === undefined || format === byName) return { path, format: byName, fileName: basename(path) };
  throw new UsageError("FORMAT_MISMATCH", `${path}: a ${extension} file cannot be of format ${format}`, {
    file: path,
    expected: byName,
    found: format,
    help: `leave out --format, or name a target without the extension ${extension}`,
  });
}

/** Throws UsageError TARGET_ADDRESS for a place that is on no disk of this machine. */
function refuseAddress(path: string): void {
  if (!isAddress(path)) return;
  throw new UsageError("TARGET_ADDRESS", `${path}: a target is a folder or a file on disk`, {
    file: path,
    expected: "a path",
    found: "an address",
    help: `name a folder, such as ${basename(path)}; with --push ${path} it is uploaded, too`,
  });
}

/** Throws UsageError TARGET_NAME for the ending of a file of another kind. */
export function refuseOtherFile(path: string): void {
  const extension = extname(path).toLowerCase();
  if (!OTHER_FILES.includes(extension.slice(1))) return;
  const stem = basename(path).slice(0, -extension.length);
  throw new UsageError("TARGET_NAME", `${path}: ${extension} files are not written`, {
    file: path,
    expected: "a directory (safetensors with its index, DCP), or a file *.safetensors, *.pt or *.pth",
    found: extension,
    help: `name a directory, such as ${stem}, or a file, such as ${stem}.safetensors`,
  });
}
