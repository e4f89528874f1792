// The tokenizer, generation and processor files that a target carries beside its weights.
import type { Dtype } from "../base/dtype.ts";
import { isFloat } from "../base/floats.ts";
import { fileChanged } from "../formats/io/file-faults.ts";
import { type FileIn, type Folder, type SourceFile, versionOf } from "../formats/io/folder.ts";
import type { OutputFile, OutputPart } from "../formats/output.ts";

export const textFile = (name: string, text: string): OutputFile => {
  const bytes = Buffer.from(text);
  return { name, byteLength: bytes.length, parts: [{ kind: "bytes", bytes }] };
};

/** A tokenizer can have hundreds of megabytes: read when it is written, so much at a time, into one buffer. */
const COPY_BYTES = 1 << 20;

/** Opens the file, so that one which cannot be read shows before a byte is written. Throws what opening throws. */
export function copiedFile({ folder, name }: FileIn): OutputFile {
  const copyOf = versionOf({ folder, name });
  const planned = folder.open(name);
  planned.close();
  const { byteLength } = planned;
  const parts: OutputPart[] = [];
  let buffer: Uint8Array | undefined;
  for (let begin = 0; begin < byteLength; begin += COPY_BYTES) {
    const size = Math.min(COPY_BYTES, byteLength - begin);
    const make = () => {
      buffer ??= new Uint8Array(Math.min(COPY_BYTES, byteLength));
      const part = buffer.subarray(0, size);
      readPart(folder, name, planned, begin, part);
      return part;
    };
    parts.push({ kind: "late", byteLength: size, make });
  }
  return { name, byteLength, parts, copyOf };
}

/** Opened for each part: nobody tells when the last one is written. */
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
