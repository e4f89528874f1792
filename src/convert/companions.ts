// The tokenizer, generation and processor files that a target carries beside its weights.
import type { Dtype } from "../base/dtype.ts";
import { isFloat } from "../base/floats.ts";
import { fileChanged } from "../formats/io/file-faults.ts";
import { type FileIn, type Folder, type SourceFile, versionOf } from "../formats/io/folder.ts";
import type { OutputFile } from "../formats/output.ts";

export const textFile = (name: string, text: string): OutputFile => {
  const bytes = Buffer.from(text);
  return { name, byteLength: bytes.length, parts: [{ kind: "bytes", bytes }] };
};

/** Opens the file, so that one which cannot be read shows before a byte is written. Throws what opening throws. */
export function copiedFile({ folder, name }: FileIn): OutputFile {
  const copyOf = versionOf({ folder, name });
  const planned = folder.open(name);
  planned.close();
  const { byteLength } = planned;
  const read = (begin: number, target: Uint8Array) => readPart(folder, name, planned, begin, target);
  return { name, byteLength, parts: byteLength === 0 ? [] : [{ kind: "copy", byteLength, read }], copyOf };
}

/** Opened for each read: nobody tells which is the last one. */
function readPart(folder: Folder, name: string, planned: SourceFile, begin: number, target: Uint8Array): void {
  const file = folder.open(name);
  try {
    if (file.version === planned.version) {
      file.read(begin, target);
      return;
    }
    const [expected, found] = [planned, file].map(({ byteLength }) => `${byteLength} bytes`);
    throw fileChanged(file.name, "the file has changed since the conversion was planned", `${expected}`, `${found}`);
  } finally {
    file.close();
  }
}

/** The one element type of all floating-point tensors; null where they have several. */
export function commonFloat(dtypes: Iterable<Dtype>): Dtype | null {
  const floats = new Set([...dtypes].filter(isFloat));
  const [only] = floats;
  return floats.size === 1 && only !== undefined ? only : null;
}
