// The tokenizer, generation and processor files that a target carries beside its weights.
import type { Dtype } from "../base/dtype.ts";
import { isFloat } from "../base/floats.ts";
import { readBytes } from "../formats/io/byte-source.ts";
import { fileChanged } from "../formats/io/file-faults.ts";
import { type FileIn, type Folder, type SourceFile, versionOf } from "../formats/io/folder.ts";
import type { OutputFile, OutputPart } from "../formats/output.ts";

export const textFile = (name: string, text: string): OutputFile => {
  const bytes = Buffer.from(text);
  return { name, byteLength: bytes.length, parts: [{ kind: "bytes", bytes }] };
};

/** A tokenizer can have hundreds of megabytes: read when it is written, so much at a time. */
const COPY_BYTES = 1 << 24;

/** Opens the file, so that one which cannot be read shows before a byte is written. Throws what opening throws. */
export function copiedFile({ folder, name }: FileIn): OutputFile {
  const copyOf = versionOf({ folder, name });
  const planned = folder.open(name);
  planned.close();
  const { byteLength } = planned;
  const parts: OutputPart[] = [];
  for (let begin = 0; begin < byteLength; begin += COPY_BYTES) {
    const size = Math.min(COPY_BYTES, byteLength - begin);
    parts.push({ kind: "late", byteLength: size, make: () => partOf(folder, name, planned, [begin, size]) });
  }
  return { name, byteLength, parts, copyOf };
}

/** Opened for each part: nobody tells when the last one is written. */
function partOf(folder: Folder, name: string, planned: SourceFile, [begin, size]: readonly [number, number]): Buffer {
  const file = folder.open(name);
  try {
    if (file.version === planned.version) return readBytes(file, begin, size);
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
