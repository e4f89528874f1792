// A state dict in several files of torch.save, as transformers wrote it until version 5 and accelerate does:
// `pytorch_model-00001-of-00002.bin` and so on with `pytorch_model.bin.index.json`; torchtune's `hf_model_0001_0.pt`, without.
import { InputError } from "../../base/errors.ts";
import type { Checkpoint, OtherEntry, TensorInfo } from "../checkpoint.ts";
import { parseIndexName, parseShardName, withoutVariants } from "../index-name.ts";
import { type Folder, inFolder } from "../io/folder.ts";
import { parseIndex, readIndex } from "../safetensors/index-file.ts";
import { openTorchFile } from "./open.ts";

/** Files of one state dict. */
export interface TorchShards {
  readonly index: string | null;
  readonly names: readonly string[];
}

const TORCHTUNE = /^hf_model_(\d+)_(\d+)\.pt$/;

/**
 * The sharded state dict among torch files of a folder: what its index lists, or all that its numbers ask for. Null where there
 * is none, or more than one.
 */
export function torchShardsIn(folder: Folder, names: readonly string[]): TorchShards | null {
  const indexes = withoutVariants(
    names.filter((name) => parseIndexName(name)?.kind === "bin"),
    (name) => parseIndexName(name)?.stem ?? name,
  );
  const [index, another] = indexes;
  if (index !== undefined) return another === undefined ? torchShardsOf(folder, index) : null;
  return torchtuneSet(names);
}

/** What an index lists. Throws what reading it throws. */
export function torchShardsOf(folder: Folder, index: string): TorchShards {
  const shown = folder.pathOf(index);
  return { index, names: [...new Set(parseIndex(readIndex(folder, index, shown), shown).values())].sort() };
}

/** Numbered from 1 without a gap, all of one epoch. */
function torchtuneSet(names: readonly string[]): TorchShards | null {
  const parsed = names
    .map((name) => ({ name, numbers: TORCHTUNE.exec(name) }))
    .filter(({ numbers }) => numbers !== null);
  const epochs = new Set(parsed.map(({ numbers }) => Number(numbers?.[2])));
  const sorted = parsed.toSorted((a, b) => Number(a.numbers?.[1]) - Number(b.numbers?.[1]));
  const isWhole = sorted.every(({ numbers }, i) => Number(numbers?.[1]) === i + 1);
  if (parsed.length < 2 || epochs.size !== 1 || !isWhole) return null;
  return { index: null, names: sorted.map(({ name }) => name) };
}

/** Whether a file is part of such a set. */
export const isTorchShard = (name: string): boolean =>
  TORCHTUNE.test(name) || (name.endsWith(".bin") && parseShardName(name) !== null);

/**
 * Opens all files. Throws InputError SHARD_MISSING, TENSOR_IN_TWO_SHARDS, TENSOR_IN_NO_SHARD, and what opening a file throws.
 */
export function openTorchShards(folder: Folder, { index, names }: TorchShards, path: string): Checkpoint {
  const shards: Checkpoint[] = [];
  folder.expect?.(names);
  try {
    for (const name of names) {
      if (folder.kind(name) === null) throw shardMissing(folder, name, index);
      shards.push(openTorchFile(inFolder(folder, name)));
    }
    const joined = join(folder, index, shards, path);
    if (index !== null) checkIndex(folder, index, joined.tensors, path);
    return joined;
  } catch (error) {
    for (const shard of shards) shard.close();
    throw error;
  }
}

const shardMissing = (folder: Folder, name: string, index: string | null): InputError =>
  new InputError("SHARD_MISSING", `${folder.pathOf(name)}: this shard is missing`, {
    file: folder.pathOf(name),
    expected: name,
    found: "no such file",
    help: index === null ? "fetch all shards" : `fetch all shards that ${index} lists`,
  });

function checkIndex(folder: Folder, index: string, tensors: ReadonlyMap<string, TensorInfo>, path: string): void {
  const map = parseIndex(readIndex(folder, index), path);
  for (const [tensor, name] of map) {
    if (tensors.has(tensor)) continue;
    throw new InputError("TENSOR_IN_NO_SHARD", `${path}: tensor ${JSON.stringify(tensor)} is in none of the shards`, {
      tensor,
      file: path,
      expected: name,
      found: "nowhere",
      help: "index and shards are not of one checkpoint: fetch or write them again",
    });
  }
}

function join(folder: Folder, index: string | null, shards: readonly Checkpoint[], path: string): Checkpoint {
  const holder = new Map<string, Checkpoint>();
  const tensors = new Map<string, TensorInfo>();
  const others = new Map<string, OtherEntry>();
  const paths = new Map<string, readonly (string | number)[]>();
  for (const shard of shards) {
    for (const [key, info] of shard.tensors) {
      const other = holder.get(key);
      if (other !== undefined) throw inTwoShards(key, path, [other, shard]);
      holder.set(key, shard);
      tensors.set(key, info);
    }
    for (const entry of shard.others) others.set(entry.key, entry);
    for (const [key, at] of shard.paths ?? []) paths.set(key, at);
  }
  return {
    path,
    folder,
    files: [...(index === null ? [] : [index]), ...shards.flatMap(({ files }) => files)],
    format: "pt",
    tensors,
    others: [...others.values()],
    paths,
    read(key, begin, target) {
      const shard = holder.get(key);
      if (shard === undefined) throw new RangeError(`no tensor ${JSON.stringify(key)} in ${path}`);
      shard.read(key, begin, target);
    },
    verify(keys = tensors.keys()) {
      const byShard = new Map(shards.map((shard) => [shard, [] as string[]]));
      for (const key of keys) byShard.get(holder.get(key) ?? shards[0]!)?.push(key);
      for (const [shard, own] of byShard) shard.verify(own);
    },
    notChecked: () => shards.map((shard) => shard.notChecked?.() ?? null).find((text) => text !== null) ?? null,
    close() {
      for (const shard of shards) shard.close();
    },
  };
}

function inTwoShards(tensor: string, file: string, [a, b]: readonly [Checkpoint, Checkpoint]): InputError {
  const found = `${a.files[0]} and ${b.files[0]}`;
  return new InputError(
    "TENSOR_IN_TWO_SHARDS",
    `${file}: tensor ${JSON.stringify(tensor)} is in two shards, ${found}`,
    {
      tensor,
      file,
      expected: "each tensor in one shard",
      found,
      help: "the shards are not of one checkpoint: fetch or write them again",
    },
  );
}
