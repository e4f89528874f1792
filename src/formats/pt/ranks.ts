// A model-parallel checkpoint: a file of torch.save a rank, `consolidated.00.pth`, `consolidated.01.pth`, …
import { InputError } from "../../base/errors.ts";
import type { Checkpoint, TensorInfo } from "../checkpoint.ts";
import { type Folder, inFolder } from "../io/folder.ts";
import { openTorchFile } from "./open.ts";

export const RANK_FILE = /^consolidated\.(\d+)\.pth$/;

/** Two digits, as in Meta's files; more where there are more ranks. */
export const rankFileName = (rank: number): string => `consolidated.${String(rank).padStart(2, "0")}.pth`;

/** Names of the rank files in a folder. */
export const rankFilesIn = (folder: Folder): string[] => folder.list().filter((name) => RANK_FILE.test(name));

/**
 * Opens all ranks; `tensors` are those of the first. Throws InputError RANK_MISSING where a number is left out,
 * RANKS_DIFFER where a rank has other keys or dtypes than the first, and what opening a file throws.
 * @param files names of the folder's rank files
 */
export function openRanks(folder: Folder, files: readonly string[]): Checkpoint {
  const names = files.toSorted((a, b) => rankOf(a) - rankOf(b));
  names.forEach((name, rank) => {
    if (rankOf(name) !== rank) throw rankMissing(folder, rank, `${names.length} files, ${name} next`);
  });
  const ranks: Checkpoint[] = [];
  folder.expect?.(names);
  try {
    for (const name of names) ranks.push(openTorchFile(inFolder(folder, name)));
    return joinFiles(folder, ranks);
  } catch (error) {
    for (const rank of ranks) rank.close();
    throw error;
  }
}

const rankOf = (name: string): number => Number(RANK_FILE.exec(name)?.[1]);

export function rankMissing(folder: Folder, rank: number, found: string, tensor?: string): InputError {
  const missing = folder.pathOf(rankFileName(rank));
  return new InputError("RANK_MISSING", `${missing}: this rank of the model is missing`, {
    file: missing,
    expected: rankFileName(rank),
    found,
    help: "copy the files of all ranks into one directory: each holds a part of every tensor",
    ...(tensor === undefined ? {} : { tensor }),
  });
}

function joinFiles(folder: Folder, ranks: readonly Checkpoint[]): Checkpoint {
  const first = ranks[0]!;
  for (const rank of ranks.slice(1)) checkSameKeys(first, rank);
  return {
    path: folder.path,
    folder,
    files: ranks.flatMap(({ files }) => files),
    format: "pt",
    tensors: first.tensors,
    others: first.others,
    ...(first.paths === undefined ? {} : { paths: first.paths }),
    chunks: ranks.reduce((sum, { tensors }) => sum + tensors.size, 0),
    ranks,
    read: (...range) => first.read(...range),
    verify(keys) {
      const list = keys === undefined ? undefined : [...keys];
      for (const rank of ranks) rank.verify(list);
    },
    notChecked: () => ranks.map((rank) => rank.notChecked?.() ?? null).find((text) => text !== null) ?? null,
    close() {
      for (const rank of ranks) rank.close();
    },
  };
}

function checkSameKeys(first: Checkpoint, rank: Checkpoint): void {
  const described = ({ dtype, shape }: TensorInfo) => `${dtype} of ${shape.length} dimensions`;
  for (const key of new Set([...first.tensors.keys(), ...rank.tensors.keys()])) {
    const [a, b] = [first.tensors.get(key), rank.tensors.get(key)];
    const expected = a === undefined ? "no such tensor" : described(a);
    const found = b === undefined ? "no such tensor" : described(b);
    if (expected !== found) throw ranksDiffer(first, rank, key, { expected, found });
  }
}

/** What one rank has that another should have, too. */
export function ranksDiffer(
  first: Checkpoint,
  other: Checkpoint,
  tensor: string,
  { expected, found }: { readonly expected: string; readonly found: string },
): InputError {
  const message = `${other.path}: "${tensor}" is not as in ${first.files[0]}: expected ${expected}, found ${found}`;
  return new InputError("RANKS_DIFFER", message, {
    tensor,
    file: other.path,
    expected,
    found,
    help: "the files are of different models or saves, or one is damaged: copy all of them again",
  });
}
