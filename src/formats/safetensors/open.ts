import { InputError } from "../../base/errors.ts";
import type { Checkpoint, SafetensorsOrigin, TensorInfo } from "../checkpoint.ts";
import { parseIndexName, parseShardName } from "../index-name.ts";
import { locate, type PathOrLocation } from "../io/disk-folder.ts";
import { type Folder, type Location, OpenFiles } from "../io/folder.ts";
import { dcpShardsIn, joinDcpShards, refusePart } from "./dcp-shards.ts";
import { parseIndex, readIndex, type WeightMap } from "./index-file.ts";
import { locateWeights } from "./locate.ts";
import { eachPlace, openShard, type Shard } from "./shard.ts";

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
  const { folder } = location;
  const files = new OpenFiles(folder);
  try {
    const parts = location.file === null ? dcpShardsIn(folder) : [];
    if (parts.length > 0) {
      folder.expect?.(parts);
      const shards = parts.map((part) => openShard(folder, part, files, folder.pathOf(part)));
      return joinDcpShards(folder, shards, files);
    }
    const name = locateWeights(location);
    const shown = location.file === null ? folder.pathOf(name) : location.path;
    const stem = parseIndexName(name)?.stem;
    const opened =
      stem === undefined
        ? openSingle(folder, name, files, shown)
        : openSharded({ folder, index: name, stem, isNamed: location.file !== null }, files, shown);
    return checkpoint({ location, files, ...opened });
  } catch (error) {
    files.close();
    throw error;
  }
}

type Opened = Pick<Contents, "shards" | "index">;

function openSingle(folder: Folder, name: string, files: OpenFiles, shown: string): Opened {
  const shard = openShard(folder, name, files, shown);
  refusePart(shard);
  return { shards: [shard], index: null };
}

interface Sharded {
  readonly folder: Folder;
  readonly index: string;
  /** What the names of its shards begin with. */
  readonly stem: string;
  /** Whether the user gave the path of the index. */
  readonly isNamed: boolean;
}

function openSharded(sharded: Sharded, files: OpenFiles, file: string): Opened {
  const { folder, index } = sharded;
  const text = readIndex(folder, index, file);
  const weightMap = parseIndex(text, file);
  const names = [...new Set(weightMap.values())].sort();
  checkStrays(sharded, new Set(names), file);
  folder.expect?.(names);
  // The text of the index is kept anyway, with all names in it.
  const known = new Map([...weightMap.keys()].map((key) => [key, key]));
  const shards = names.map((shard) => openShard(folder, shard, files, folder.pathOf(shard), known));
  checkWeightMap(weightMap, shards, file);
  return { shards, index: { name: index, text } };
}

/**
 * A shard that fits the naming pattern and is not in the index is most likely half of another checkpoint. One of another split
 * does not matter to an index that was named.
 */
function checkStrays({ folder, index, stem, isNamed }: Sharded, names: ReadonlySet<string>, where: string): void {
  const splits = new Set([...names].map((name) => parseShardName(name)?.of));
  const stray = folder.list().find((name) => {
    const parsed = name.endsWith(".safetensors") ? parseShardName(name) : null;
    return parsed?.stem === stem && !names.has(name) && !(isNamed && !splits.has(parsed.of));
  });
  if (stray === undefined) return;
  const isOtherSplit = !splits.has(parseShardName(stray)?.of);
  throw new InputError("SAFETENSORS_SHARD_NOT_IN_INDEX", `${where}: the shard ${stray} beside it is not in the index`, {
    file: folder.pathOf(stray),
    expected: [...names].join(", "),
    found: stray,
    help: isOtherSplit
      ? `it is of another split: give the path of the index that is meant, such as ${folder.pathOf(index)}`
      : "fetch the index that lists it, or remove the shard if it is left over from another checkpoint",
  });
}

/** Index and headers must say the same: each tensor in exactly the file that the index names. */
function checkWeightMap(weightMap: WeightMap, shards: readonly Shard[], file: string): void {
  // A header has each key once: none is in two shards if each is where the index says.
  const isAsListed = shards.every(({ name, tensors }) => tensors.every(({ key }) => weightMap.get(key) === name));
  const listed = shards.reduce((sum, { tensors }) => sum + tensors.length, 0);
  if (!isAsListed || listed !== weightMap.size) failAt(weightMap, shards, file);
}

function failAt(weightMap: WeightMap, shards: readonly Shard[], file: string): void {
  const found = new Map<string, string>();
  for (const { name, tensors } of shards) {
    for (const { key } of tensors) {
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

/** Where tensors lie, by numbers in the order of the files: a large model has tens of thousands of them. */
class Places {
  readonly #numbers = new Map<string, number>();
  readonly #shards: readonly Shard[];
  readonly #shardOf: Uint32Array;
  readonly #begin: Float64Array;

  constructor(shards: readonly Shard[]) {
    this.#shards = shards;
    const count = shards.reduce((sum, { tensors }) => sum + tensors.length, 0);
    this.#shardOf = new Uint32Array(count);
    this.#begin = new Float64Array(count);
    for (const [i, shard] of shards.entries())
      eachPlace(shard, ({ key }, begin) => {
        const number = this.#numbers.size;
        this.#numbers.set(key, number);
        this.#shardOf[number] = i;
        this.#begin[number] = begin;
      });
  }

  /** The file of a tensor and where in it that begins. */
  of(key: string): readonly [file: Shard["file"], begin: number] | undefined {
    const number = this.#numbers.get(key);
    return number === undefined ? undefined : [this.#shards[this.#shardOf[number]!]!.file, this.#begin[number]!];
  }
}

function checkpoint({ location, files, shards, index }: Contents): Checkpoint {
  const { path, folder } = location;
  const tensors = new Map<string, TensorInfo>();
  for (const shard of shards) for (const tensor of shard.tensors) tensors.set(tensor.key, tensor);
  // Nobody asks where they lie before bytes are read.
  let places: Places | undefined;
  return {
    path,
    folder,
    files: [...(index === null ? [] : [index.name]), ...shards.map(({ name }) => name)],
    format: "safetensors",
    tensors,
    others: [],
    safetensors: { files: shards.map(({ origin }) => origin), index },
    read(key, begin, target) {
      places ??= new Places(shards);
      const place = places.of(key);
      if (place === undefined) throw new RangeError(`no tensor ${JSON.stringify(key)} in ${path}`);
      const [file, at] = place;
      const { byteLength } = tensors.get(key)!;
      if (begin < 0 || begin + target.length > byteLength)
        throw new RangeError(`${key}: bytes ${begin} to ${begin + target.length} of ${byteLength}`);
      file.read(at + begin, target, at + byteLength);
    },
    // The format has no checksums: all that shows is that the files are those whose headers were read.
    verify: () => files.check(),
    close: () => files.close(),
  };
}
