import { InputError } from "../../base/errors.ts";
import type { Checkpoint, SafetensorsOrigin, TensorInfo } from "../checkpoint.ts";
import { readBytes } from "../io/byte-source.ts";
import { locate, type PathOrLocation } from "../io/disk-folder.ts";
import { type Folder, type Location, OpenFiles, type SourceFile } from "../io/folder.ts";
import { isHeaderText, placeTensors } from "./encode.ts";
import { decodeHeader, type Header, headerLength, LENGTH_BYTES, parseHeader } from "./header.ts";
import { parseIndex, readIndex, type WeightMap } from "./index-file.ts";
import { INDEX_SUFFIX, locateWeights } from "./locate.ts";

type OriginFile = SafetensorsOrigin["files"][number];

/** One file; `dataBegin` is where its data section begins. */
interface Shard {
  readonly name: string;
  readonly file: SourceFile;
  readonly dataBegin: number;
  readonly header: Header;
  readonly origin: OriginFile;
}

/** Where a tensor lies in its file. */
interface Range {
  readonly shard: Shard;
  readonly begin: number;
  readonly byteLength: number;
}

/** What a checkpoint is made of. */
interface Contents {
  readonly location: Location;
  readonly files: OpenFiles;
  readonly shards: readonly Shard[];
  readonly index: SafetensorsOrigin["index"];
}

/**
 * Opens a `.safetensors` file, an index, or a folder that holds either. Reads headers only, and validates them and
 * the index in full: what opens can be read. Throws InputError, with a code for each fault.
 */
export function openSafetensors(at: PathOrLocation): Checkpoint {
  const location = locate(at);
  const name = locateWeights(location);
  const files = new OpenFiles(location.folder);
  try {
    const shown = location.file === null ? location.folder.pathOf(name) : location.path;
    const open = name.endsWith(INDEX_SUFFIX) ? openSharded : openSingle;
    const opened = open(location.folder, name, files, shown);
    return checkpoint({ location, files, ...opened });
  } catch (error) {
    files.close();
    throw error;
  }
}

type Opened = Pick<Contents, "shards" | "index">;

function openSingle(folder: Folder, name: string, files: OpenFiles, shown: string): Opened {
  return { shards: [openShard(folder, name, files, shown)], index: null };
}

function openSharded(folder: Folder, name: string, files: OpenFiles, file: string): Opened {
  const text = readIndex(folder, name, file);
  const weightMap = parseIndex(text, file);
  const names = [...new Set(weightMap.values())].sort();
  checkStrays(folder, name, new Set(names), file);
  const shards = names.map((shard) => openShard(folder, shard, files, folder.pathOf(shard)));
  checkWeightMap(weightMap, shards, file);
  return { shards, index: { name, text } };
}

/** A shard that fits the naming pattern and is not in the index is most likely half of another checkpoint. */
function checkStrays(folder: Folder, index: string, names: ReadonlySet<string>, where: string): void {
  const stem = index.slice(0, -INDEX_SUFFIX.length);
  const stray = folder.list().find((name) => {
    const rest = name.startsWith(stem) ? name.slice(stem.length) : "";
    return /^-\d+-of-\d+\.safetensors$/.test(rest) && !names.has(name);
  });
  if (stray === undefined) return;
  throw new InputError("SAFETENSORS_SHARD_NOT_IN_INDEX", `${where}: the shard ${stray} beside it is not in the index`, {
    file: folder.pathOf(stray),
    expected: [...names].join(", "),
    found: stray,
    help: "remove the shard if it is left over from another checkpoint, or fetch the index that lists it",
  });
}

/** Index and headers must say the same: each tensor in exactly the file that the index names. */
function checkWeightMap(weightMap: WeightMap, shards: readonly Shard[], file: string): void {
  const found = new Map<string, string>();
  for (const { name, header } of shards) {
    for (const { key } of header.tensors) {
      const other = found.get(key);
      if (other !== undefined) {
        failTensor(
          "SAFETENSORS_TENSOR_IN_TWO_SHARDS",
          file,
          key,
          `is in two shards, ${other} and ${name}`,
          weightMap.get(key),
          name,
        );
      }
      found.set(key, name);
    }
  }
  for (const [key, name] of weightMap) {
    const actual = found.get(key);
    if (actual === undefined)
      failTensor("SAFETENSORS_TENSOR_IN_NO_SHARD", file, key, `is in none of the shards`, name, undefined);
    if (actual !== name)
      failTensor("SAFETENSORS_TENSOR_IN_OTHER_SHARD", file, key, `is not in ${name} but in ${actual}`, name, actual);
  }
  for (const [key, name] of found) {
    if (!weightMap.has(key))
      failTensor("SAFETENSORS_TENSOR_NOT_IN_INDEX", file, key, `is in ${name} and not in the index`, undefined, name);
  }
}

function failTensor(
  code: string,
  file: string,
  tensor: string,
  problem: string,
  expected: string | undefined,
  found: string | undefined,
): never {
  throw new InputError(code, `${file}: tensor ${JSON.stringify(tensor)} ${problem}`, {
    tensor,
    file,
    expected: expected ?? "no such tensor",
    found: found ?? "nowhere",
    help: "index and shards are not of one checkpoint: fetch or write them again",
  });
}

function openShard(folder: Folder, name: string, files: OpenFiles, shown: string): Shard {
  checkKind(folder, name, shown);
  const file = files.open(name, shown);
  const prefix = readBytes(file, 0, Math.min(file.byteLength, LENGTH_BYTES));
  const length = headerLength(prefix, file.byteLength, shown);
  const dataBegin = LENGTH_BYTES + length;
  // Of its own, as most headers are larger than the pool of small buffers, and are kept no longer than this.
  const bytes = Buffer.allocUnsafeSlow(length);
  file.read(LENGTH_BYTES, bytes);
  const text = decodeHeader(bytes, shown);
  const header = parseHeader(text, file.byteLength - dataBegin, shown);
  return { name, file, dataBegin, header, origin: originOf(name, header, text) };
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

function originOf(name: string, { metadata, tensors }: Header, text: string): OriginFile {
  const canonical = isHeaderText(text, placeTensors(tensors), metadata);
  return { name, metadata, keys: tensors.map(({ key }) => key), canonical, ...(canonical ? {} : { header: text }) };
}

function checkpoint({ location, files, shards, index }: Contents): Checkpoint {
  const { path, folder } = location;
  const tensors = new Map<string, TensorInfo>();
  const places = new Map<string, Range>();
  for (const shard of shards) {
    for (const { key, dtype, shape, begin, end } of shard.header.tensors) {
      tensors.set(key, { key, dtype, shape, byteLength: end - begin });
      places.set(key, { shard, begin: shard.dataBegin + begin, byteLength: end - begin });
    }
  }
  return {
    path,
    folder,
    files: [...(index === null ? [] : [index.name]), ...shards.map(({ name }) => name)],
    format: "safetensors",
    tensors,
    others: [],
    safetensors: { files: shards.map(({ origin }) => origin), index },
    read(key, begin, target) {
      const place = places.get(key);
      if (place === undefined) throw new RangeError(`no tensor ${JSON.stringify(key)} in ${path}`);
      if (begin < 0 || begin + target.length > place.byteLength) {
        throw new RangeError(`${key}: bytes ${begin} to ${begin + target.length} of ${place.byteLength}`);
      }
      place.shard.file.read(place.begin + begin, target);
    },
    // The format has no checksums: all that shows is that the files are those whose headers were read.
    verify: () => files.check(),
    close: () => files.close(),
  };
}
