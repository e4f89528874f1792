import { basename, extname } from "node:path";
import { UsageError } from "../base/errors.ts";
import type { Format } from "../formats/checkpoint.ts";

/** Where a conversion writes to: one file, or a directory. */
export interface Target {
  readonly path: string;
  readonly format: Format;
  /** Name of the one file, where the path is a file; null for a directory. */
  readonly fileName: string | null;
}

const FILE_FORMATS: Readonly<Record<string, Format>> = { ".safetensors": "safetensors", ".pt": "pt", ".pth": "pt" };

/** Whether a path names a file or a directory, and in which format. Throws UsageError where the two disagree. */
export function targetAt(path: string, format: Format | undefined, fallback: Format): Target {
  const extension = extname(path).toLowerCase();
  const byName = FILE_FORMATS[extension];
  if (byName === undefined) return { path, format: format ?? fallback, fileName: null };
  if (format === undefined || format === byName) return { path, format: byName, fileName: basename(path) };
  throw new UsageError("FORMAT_MISMATCH", `${path}: a ${extension} file cannot be of format ${format}`, {
    file: path,
    expected: byName,
    found: format,
    help: `leave out --format, or name a target without the extension ${extension}`,
  });
}
