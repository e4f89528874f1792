import { InputError } from "../../base/errors.ts";
import { ADAPTER_FILE } from "../file-names.ts";
import { parseIndexName, withoutVariants } from "../index-name.ts";
import type { Folder, Location } from "../io/folder.ts";
import { readIndex } from "./index-file.ts";

const USUAL_INDEX = "model.safetensors.index.json";
const SUFFIX = ".safetensors";
const SHARD = /-\d+-of-\d+\.safetensors$/;

/**
 * Name of the file to open: the location's own, or what its folder holds: `model.safetensors`, its index, or else the only
 * index or `.safetensors` file. Throws InputError where there is none or more than one.
 */
export function locateWeights({ path, folder, file }: Location): string {
  if (file === null) return locateInFolder(folder);
  if (folder.kind(file) !== null) return file;
  throw new InputError("SAFETENSORS_FILE_MISSING", `${path}: no such file or directory`, {
    file: path,
    help: "check the path",
  });
}

/** Scales of what was decoded, beside a native target: never the model itself. */
export const SCALES_NAME = "convert-checkpoint.scales.safetensors";

function locateInFolder(folder: Folder): string {
  const { path } = folder;
  const names = withoutAdapters(folder.list().filter((name) => name !== SCALES_NAME));
  const singles = names.filter((name) => name.endsWith(SUFFIX) && !SHARD.test(name));
  const indexes = names.filter((name) => parseIndexName(name)?.kind === "safetensors");
  const single = prefer(singles, `model${SUFFIX}`);
  const index = prefer(indexes, USUAL_INDEX);
  if (single.length === 1 && index.length === 1 && isListed(folder, `${index[0]}`, `${single[0]}`)) {
    return `${index[0]}`;
  }
  const candidates = choose(single, index);
  const [only] = candidates;
  if (only === undefined) return locateShard(path, names);
  if (candidates.length === 1) return only;
  throw new InputError("SAFETENSORS_AMBIGUOUS", `${path}: holds more than one checkpoint: ${candidates.join(", ")}`, {
    file: path,
    expected: "one .safetensors file or one index",
    found: candidates.join(", "),
    help: "give the path of the file that is meant",
  });
}

/** An adapter beside its base is not what is meant. */
function withoutAdapters(names: readonly string[]): readonly string[] {
  const others = names.filter((name) => !ADAPTER_FILE.test(name));
  return others.some((name) => name.endsWith(SUFFIX)) ? others : names;
}

/** The file of the usual name where it exists, else all that are no variant of another. */
const prefer = (names: readonly string[], usual: string) =>
  names.includes(usual) ? [usual] : withoutVariants(names, stemOf);

const stemOf = (name: string): string => parseIndexName(name)?.stem ?? name.slice(0, -SUFFIX.length);

/** A `model.*` of either kind outweighs other names; two of one rank are ambiguous. */
function choose(singles: readonly string[], indexes: readonly string[]): readonly string[] {
  const all = [...indexes, ...singles];
  const usual = all.filter((name) => name === `model${SUFFIX}` || name === USUAL_INDEX);
  if (usual.length > 0) return usual;
  return indexes.length > 0 ? indexes : singles;
}

/** An index may have one shard, `model.safetensors`: then the two are one checkpoint. */
function isListed(folder: Folder, index: string, single: string): boolean {
  return readIndex(folder, index).includes(JSON.stringify(single));
}

/** No file of a plain name: a first shard of one is whole, any other needs its index. */
function locateShard(path: string, names: readonly string[]): string {
  const shards = names.filter((name) => SHARD.test(name));
  const [shard] = shards;
  if (shard !== undefined && shards.length === 1 && /-0*1-of-0*1\.safetensors$/.test(shard)) return shard;
  if (shard === undefined) {
    throw new InputError("SAFETENSORS_NOT_FOUND", `${path}: holds no .safetensors file`, {
      file: path,
      help: "give a directory with model.safetensors or model.safetensors.index.json",
    });
  }
  throw new InputError("SAFETENSORS_INDEX_MISSING", `${path}: holds shards such as ${shard}, and no index`, {
    file: path,
    expected: `an index, such as ${shard.replace(SHARD, ".safetensors.index.json")}`,
    found: shard,
    help: "fetch the index of the checkpoint; --to raw converts a shard that is given by its path",
  });
}
