// One shard of several, given by its path: whole tensors, but not all.
import { InputError } from "../base/errors.ts";
import type { Checkpoint } from "./checkpoint.ts";
import { isWeightPartition } from "./deepspeed/names.ts";
import { parseIndexName, parseShardName } from "./index-name.ts";
import type { Folder } from "./io/folder.ts";

/** Null for anything but a shard of several. */
export function shardAlone({ path, folder, files }: Checkpoint): InputError | null {
  const [file, ...others] = files;
  if (file !== undefined && others.length === 0 && isWeightPartition(file)) return partitionAlone(path, folder, file);
  const shard = file === undefined || others.length > 0 ? null : parseShardName(file);
  if (file === undefined || shard === null || shard.of < 2) return null;
  const index = folder.list().find((name) => parseIndexName(name)?.stem === shard.stem);
  return new InputError("SHARD_ALONE", `${path}: is one of ${shard.of} shards, number ${shard.number}`, {
    file: path,
    expected: `all ${shard.of} shards, by their index`,
    found: file,
    help:
      index === undefined
        ? "fetch the other shards and their index into one folder, and give that"
        : `give the folder, or ${folder.pathOf(index)}`,
  });
}

const partitionAlone = (file: string, folder: Folder, found: string): InputError =>
  new InputError("SHARD_ALONE", `${file}: is one rank's partition of DeepSpeed's weights`, {
    file,
    expected: "the files of all ranks",
    found,
    help: `give the folder, ${folder.path}`,
  });

export function refuseShardAlone(checkpoint: Checkpoint): void {
  const fault = shardAlone(checkpoint);
  if (fault !== null) throw fault;
}
