import fs from "node:fs";
import { basename, dirname, join } from "node:path";
import { EnvironmentError, InputError } from "../../base/errors.ts";
import type { Checkpoint, SafetensorsOrigin, TensorInfo } from "../checkpoint.ts";
import { encodeHeaderText, placeTensors } from "./encode.ts";
import { decodeHeader, type Header, headerLength, LENGTH_BYTES, parseHeader } from "./header.ts";
import { MAX_INDEX_BYTES, parseIndex, type WeightMap } from "./index-file.ts";
import { INDEX_SUFFIX, locate } from "./locate.ts";

type OriginFile = SafetensorsOrigin["files"][number];

/** One open file; `dataBegin` is where its data section begins. */
interface Shard {
  readonly name: string;
  readonly path: string;
  readonly fd: number;
  readonly dataBegin: number;
  readonly header: Header;
  readonly origin: OriginFile;
}

interface Place {
  readonly shard: Shard;
  readonly begin: number;
  readonly byteLength: number;
}

/**
 * Opens a `.safetensors` file, an index, or a directory that holds either. Reads headers only, and validates them and
 * the index in full: what opens can be read. Throws InputError, with a code for each fault.
 */
export function openSafetensors(path: string): Checkpoint {
  const file = locate(path);
  return file.endsWith(INDEX_SUFFIX) ? openSharded(path, file) : openSingle(path, file);
}

function openSingle(path: string, file: string): Checkpoint {
  const shard = openShard(file, basename(file));
  return checkpoint({ path, files: [file] }, [shard], null);
}

function openSharded(path: string, file: string): Checkpoint {
  const text = readIndex(file);
  const weightMap = parseIndex(text, file);
  const folder = dirname(file);
  const names = [...new Set(weightMap.values())].sort();
  checkStrays(folder, file, new Set(names));
  const shards: Shard[] = [];
  try {
    for (const name of names) shards.push(openShard(join(folder, name), name));
    checkWeightMap(weightMap, shards, file);
  } catch (error) {
    for (const { fd } of shards) fs.closeSync(fd);
    throw error;
  }
  const files = [file, ...shards.map((shard) => shard.path)];
  return checkpoint({ path, files }, shards, { name: basename(file), text });
}

function readIndex(file: string): string {
  const { size } = fs.statSync(file);
  if (size > MAX_INDEX_BYTES) {
    throw new InputError("SAFETENSORS_INDEX_TOO_LARGE", `${file}: the index has ${size} bytes`, {
      file,
      expected: `at most ${MAX_INDEX_BYTES} bytes`,
      found: `${size} bytes`,
      help: "check that this is the index of a checkpoint",
    });
  }
  const bytes = fs.readFileSync(file);
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (cause) {
    throw new InputError("SAFETENSORS_INDEX_NOT_UTF8", `${file}: the index is not valid UTF-8`, {
      file,
      help: "fetch or write the index again",
      cause,
    });
  }
}

/** A shard that fits the naming pattern and is not in the index is most likely half of another checkpoint. */
function checkStrays(folder: string, index: string, names: ReadonlySet<string>): void {
  const stem = basename(index).slice(0, -INDEX_SUFFIX.length);
  const stray = fs.readdirSync(folder).find((name) => {
    const rest = name.startsWith(stem) ? name.slice(stem.length) : "";
    return /^-\d+-of-\d+\.safetensors$/.test(rest) && !names.has(name);
  });
  if (stray === undefined) return;
  throw new InputError("SAFETENSORS_SHARD_NOT_IN_INDEX", `${index}: the shard ${stray} beside it is not in the index`, {
    file: join(folder, stray),
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
        failTensor("IN_TWO_SHARDS", file, key, `is in two shards, ${other} and ${name}`, weightMap.get(key), name);
      }
      found.set(key, name);
    }
  }
  for (const [key, name] of weightMap) {
    const actual = found.get(key);
    if (actual === undefined) failTensor("IN_NO_SHARD", file, key, `is in none of the shards`, name, undefined);
    if (actual !== name) failTensor("IN_OTHER_SHARD", file, key, `is not in ${name} but in ${actual}`, name, actual);
  }
  for (const [key, name] of found) {
    if (!weightMap.has(key))
      failTensor("NOT_IN_INDEX", file, key, `is in ${name} and not in the index`, undefined, name);
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
  throw new InputError(`SAFETENSORS_TENSOR_${code}`, `${file}: tensor ${JSON.stringify(tensor)} ${problem}`, {
    tensor,
    file,
    expected: expected ?? "no such tensor",
    found: found ?? "nowhere",
    help: "index and shards are not of one checkpoint: fetch or write them again",
  });
}

function openShard(path: string, name: string): Shard {
  const fd = openFile(path);
  try {
    const fileBytes = fs.fstatSync(fd).size;
    const prefix = readRange(fd, 0, Buffer.alloc(Math.min(fileBytes, LENGTH_BYTES)), path);
    const length = headerLength(prefix, fileBytes, path);
    const dataBegin = LENGTH_BYTES + length;
    const text = decodeHeader(readRange(fd, LENGTH_BYTES, Buffer.allocUnsafeSlow(length), path), path);
    const header = parseHeader(text, fileBytes - dataBegin, path);
    return { name, path, fd, dataBegin, header, origin: originOf(name, header, text) };
  } catch (error) {
    fs.closeSync(fd);
    throw error;
  }
}

function originOf(name: string, { metadata, tensors }: Header, text: string): OriginFile {
  const canonical = encodeHeaderText(placeTensors(tensors), metadata) === text;
  return { name, metadata, keys: tensors.map(({ key }) => key), canonical, ...(canonical ? {} : { header: text }) };
}

function openFile(path: string): number {
  const stats = fs.statSync(path, { throwIfNoEntry: false });
  if (stats === undefined) {
    throw new InputError("SAFETENSORS_FILE_MISSING", `${path}: no such file`, {
      file: path,
      help: "fetch the missing file, or correct the path",
    });
  }
  if (!stats.isFile()) {
    throw new InputError("SAFETENSORS_NOT_A_FILE", `${path}: not a regular file`, {
      file: path,
      help: "give a .safetensors file",
    });
  }
  try {
    return fs.openSync(path, "r");
  } catch (cause) {
    throw new EnvironmentError("SAFETENSORS_UNREADABLE", `${path}: cannot be opened for reading`, {
      file: path,
      help: "check the permissions of the file",
      cause,
    });
  }
}

/** Node takes lengths below 2^31. */
const MAX_READ_BYTES = 2 ** 30;

/** Fills `target` from `position` on. */
function readRange<T extends Uint8Array>(fd: number, position: number, target: T, path: string): T {
  for (let done = 0; done < target.length; ) {
    const length = Math.min(target.length - done, MAX_READ_BYTES);
    const count = read(fd, target, done, length, position + done, path);
    if (count === 0) {
      throw new InputError("SAFETENSORS_CHANGED", `${path}: the file became shorter while it was read`, {
        file: path,
        expected: `${position + target.length} bytes`,
        found: `${position + done} bytes`,
        help: "run again when nothing else writes to the file",
      });
    }
    done += count;
  }
  return target;
}

function read(fd: number, target: Uint8Array, offset: number, length: number, position: number, path: string): number {
  try {
    return fs.readSync(fd, target, offset, length, position);
  } catch (cause) {
    throw new EnvironmentError("SAFETENSORS_UNREADABLE", `${path}: reading failed at byte ${position}`, {
      file: path,
      help: "check the disk or network that holds the file",
      cause,
    });
  }
}

function checkpoint(
  { path, files }: Pick<Checkpoint, "path" | "files">,
  shards: readonly Shard[],
  index: SafetensorsOrigin["index"],
): Checkpoint {
  const tensors = new Map<string, TensorInfo>();
  const places = new Map<string, Place>();
  for (const shard of shards) {
    for (const { key, dtype, shape, begin, end } of shard.header.tensors) {
      tensors.set(key, { key, dtype, shape, byteLength: end - begin });
      places.set(key, { shard, begin: shard.dataBegin + begin, byteLength: end - begin });
    }
  }
  return {
    path,
    files,
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
      readRange(place.shard.fd, place.begin + begin, target, place.shard.path);
    },
    // The format has no checksums: headers and sizes were checked on opening.
    verify() {},
    close() {
      for (const { fd } of shards) fs.closeSync(fd);
    },
  };
}
