// A checkpoint under the keys of its layout: what follows never sees how trainers and wrappers spelled them.
import { isJsonObject, parseJson } from "../../base/json.ts";
import type { Checkpoint, SafetensorsOrigin, TensorInfo } from "../../formats/checkpoint.ts";
import { isTrainerState } from "../keys.ts";

export interface Renamed {
  readonly checkpoint: Checkpoint;
  /** Key as the layout spells it → key in the files, of tensors that these spell otherwise. */
  readonly names: ReadonlyMap<string, string>;
}

/** @param rename key in the files → key as the layout spells it; no two become one */
export function renamedCheckpoint(stored: Checkpoint, rename: (key: string) => string): Renamed {
  const own = (key: string) => (isTrainerState(stored, key) ? key : rename(key));
  const names = new Map<string, string>();
  for (const stands of stored.tensors.keys()) {
    const key = own(stands);
    if (key !== stands) names.set(key, stands);
  }
  if (names.size === 0) return { checkpoint: stored, names };
  const tensors = new Map<string, TensorInfo>();
  for (const info of stored.tensors.values()) {
    const key = own(info.key);
    tensors.set(key, { ...info, key });
  }
  const storedKey = (key: string) => names.get(key) ?? key;
  const { path, folder, files, format, others, chunks, companions, savedBy, safetensors, ranks, merged } = stored;
  const checkpoint: Checkpoint = {
    path,
    folder,
    files,
    format,
    others,
    tensors,
    ...(chunks === undefined ? {} : { chunks }),
    ...(companions === undefined ? {} : { companions }),
    ...(savedBy === undefined ? {} : { savedBy }),
    ...(safetensors === undefined ? {} : { safetensors: renamedOrigin(safetensors, own) }),
    ...(merged === undefined ? {} : { merged }),
    ...(ranks === undefined ? {} : { ranks: ranks.map((rank) => renamedCheckpoint(rank, rename).checkpoint) }),
    read: (key, begin, target) => stored.read(storedKey(key), begin, target),
    sample: () => stored.sample?.(),
    notChecked: () => stored.notChecked?.() ?? null,
    verify: (keys) => stored.verify(keys && Array.from(keys, storedKey)),
    close: () => stored.close(),
  };
  return { checkpoint, names };
}

/** The same shards with other keys: headers are no longer those of the files. */
const renamedOrigin = ({ files, index }: SafetensorsOrigin, rename: (key: string) => string): SafetensorsOrigin => ({
  files: files.map(({ header: _, ...file }) => ({ ...file, keys: file.keys.map(rename) })),
  index: index && { name: index.name, text: renamedIndex(index.text, rename) },
});

function renamedIndex(text: string, rename: (key: string) => string): string {
  const index = parseJson(text);
  if (!isJsonObject(index) || !isJsonObject(index.weight_map)) return text;
  const entries = Object.entries(index.weight_map).map(([key, file]) => [rename(key), file] as const);
  return `${JSON.stringify({ ...index, weight_map: Object.fromEntries(entries) }, null, 2)}\n`;
}
