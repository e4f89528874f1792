// One safetensors file, its header read and validated.
import { InputError } from "../../base/errors.ts";
import type { SafetensorsOrigin, TensorInfo } from "../checkpoint.ts";
import { readBytes } from "../io/byte-source.ts";
import type { Folder, OpenFiles, SourceFile } from "../io/folder.ts";
import { isCanonical } from "./encode.ts";
import { decodeHeader, type Header, headerLength, type KnownNames, LENGTH_BYTES, parseHeader } from "./header.ts";

type OriginFile = SafetensorsOrigin["files"][number];

/** One file; `dataBegin` is where its data section begins. */
export interface Shard {
  readonly name: string;
  readonly file: SourceFile;
  readonly dataBegin: number;
  /** In the order of the data, which they cover without hole or overlap. */
  readonly tensors: readonly TensorInfo[];
  readonly origin: OriginFile;
}

/** Calls `visit` with each tensor of a shard and where it begins in the file. */
export function eachPlace({ tensors, dataBegin }: Shard, visit: (tensor: TensorInfo, begin: number) => void): void {
  let begin = dataBegin;
  for (const tensor of tensors) {
    visit(tensor, begin);
    begin += tensor.byteLength;
  }
}

/** Throws InputError, with a code for each fault. */
export function openShard(folder: Folder, name: string, files: OpenFiles, shown: string, known?: KnownNames): Shard {
  checkKind(folder, name, shown);
  const file = files.open(name, shown);
  const prefix = readBytes(file, 0, Math.min(file.byteLength, LENGTH_BYTES));
  const length = headerLength(prefix, file.byteLength, shown);
  const dataBegin = LENGTH_BYTES + length;
  // Of its own, as most headers are larger than the pool of small buffers, and are kept no longer than this.
  const bytes = Buffer.allocUnsafeSlow(length);
  file.read(LENGTH_BYTES, bytes);
  const text = decodeHeader(bytes, shown);
  const header = parseHeader(text, file.byteLength - dataBegin, shown, known);
  const tensors = header.tensors.map(({ key, dtype, shape, begin, end }) => ({
    key,
    dtype,
    shape,
    byteLength: end - begin,
  }));
  return { name, file, dataBegin, tensors, origin: originOf(name, header, text) };
}

function checkKind(folder: Folder, name: string, file: string): void {
  const kind = folder.kind(name);
  if (kind === "file") return;
  if (kind === null) {
    throw new InputError("SAFETENSORS_FILE_MISSING", `${file}: no such file`, {
      file,
      help: "fetch the missing file, or correct the path",
    });
  }
  throw new InputError("SAFETENSORS_NOT_A_FILE", `${file}: not a regular file`, {
    file,
    help: "give a .safetensors file",
  });
}

function originOf(name: string, header: Header, text: string): OriginFile {
  const { metadata, tensors } = header;
  const canonical = isCanonical(text, header);
  return { name, metadata, keys: tensors.map(({ key }) => key), canonical, ...(canonical ? {} : { header: text }) };
}
