// A model-parallel checkpoint: a file of torch.save a rank, `consolidated.00.pth`, `consolidated.01.pth`, …
import { basename, dirname, join } from "node:path";
import { InputError } from "../../base/errors.ts";
import type { Checkpoint, TensorInfo } from "../checkpoint.ts";
import { openTorchFile } from "./open.ts";

export const RANK_FILE = /^consolidated\.(\d+)\.pth$/;

/** Two digits, as Meta has them; more where there are more ranks. */
export const rankFileName = (rank: number): string => `consolidated.${String(rank).padStart(2, "0")}.pth`;

/**
 * Opens all ranks; `tensors` are those of the first. Throws InputError RANK_MISSING where a number is left out,
 * RANKS_DIFFER where a rank has other keys or dtypes than the first, and what opening a file throws.
 * @param names of the directory's rank files
 */
export function openRanks(directory: string, names: readonly string[]): Checkpoint {
  const paths = names.toSorted((a, b) => rankOf(a) - rankOf(b)).map((name) => join(directory, name));
  paths.forEach((path, rank) => {
    if (rankOf(basename(path)) !== rank) throw rankMissing(path, rank, `${paths.length} files, ${basename(path)} next`);
  });
  const ranks: Checkpoint[] = [];
  try {
    for (const path of paths) ranks.push(openTorchFile(path));
    return joinFiles(directory, ranks);
  } catch (error) {
    for (const rank of ranks) rank.close();
    throw error;
  }
}

const rankOf = (name: string): number => Number(RANK_FILE.exec(name)?.[1]);

/** @param beside a file of the checkpoint */
export function rankMissing(beside: string, rank: number, found: string, tensor?: string): InputError {
  const missing = join(dirname(beside), rankFileName(rank));
  return new InputError("RANK_MISSING", `${missing}: this rank of the model is missing`, {
    file: missing,
    expected: rankFileName(rank),
    found,
    help: "copy the files of all ranks into one directory: each holds a part of every tensor",
    ...(tensor === undefined ? {} : { tensor }),
  });
}

function joinFiles(path: string, ranks: readonly Checkpoint[]): Checkpoint {
  const first = ranks[0]!;
  for (const rank of ranks.slice(1)) checkSameKeys(first, rank);
  return {
    path,
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
  const message = `${other.path}: "${tensor}" is not as in ${basename(first.path)}: expected ${expected}, found ${found}`;
  return new InputError("RANKS_DIFFER", message, {
    tensor,
    file: other.path,
    expected,
    found,
    help: "the files are of different models or saves, or one is damaged: copy all of them again",
  });
}
