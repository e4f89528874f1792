// Where below a folder without a checkpoint the one that was meant may lie.
import { ConvertCheckpointError } from "../base/errors.ts";
import { type Folder, has, readText } from "../formats/io/folder.ts";
import { isOfStep, latestStep } from "../formats/tracker.ts";

/** How a folder is looked at. */
export interface Looking {
  /** By names alone. */
  readonly holdsCheckpoint: (folder: Folder) => boolean;
  /** Whether the checkpoint in it has tensors of a model; throws where it cannot be opened. */
  readonly holdsModel: (folder: Folder) => boolean;
}

export interface Nearby {
  readonly count: number;
  /** Path of the likeliest. */
  readonly meant: string;
}

/** Folders that are listed, and checkpoints that are opened, at most. */
const MOST_FOLDERS = 2000;
const MOST_OPENED = 8;

/**
 * Two levels down, or three in the Hub's cache: of the nearest level that has any, the last in the order of numbers that
 * holds tensors of a model. Null where there is none.
 */
export function nearby(folder: Folder, looking: Looking): Nearby | null {
  let level: readonly Folder[] = [folder];
  const depth = folder.list().some((name) => CACHED.test(name)) ? 3 : 2;
  const likelihood = likelihoodBelow(folder);
  for (let i = 0; i < depth && level.length <= MOST_FOLDERS; i++) {
    level = level.flatMap(foldersIn);
    const found = level
      .filter((each) => attempt(() => looking.holdsCheckpoint(each)) === true)
      .toSorted((a, b) => likelihood(a) - likelihood(b) || a.path.localeCompare(b.path, "en", { numeric: true }));
    const last = found.at(-1);
    if (last === undefined) continue;
    const revision = revisionIn(folder);
    const current = found.find(({ path }) => path === revision);
    const meant =
      current ?? found.slice(-MOST_OPENED).findLast((each) => attempt(() => looking.holdsModel(each)) === true) ?? last;
    return { count: found.length, meant: meant.path };
  }
  return null;
}

/** A model in the Hub's cache: `models--Qwen--Qwen3-8B`. */
const CACHED = /^models--[^/]+--/;

/** What trainers call the model that a run is for, beside critics and optimizers. */
const TRAINED = /^(?:actor|policy|model)$/;

/** Of folders in the order of numbers: those of the step that the run's tracker names, then the models that are trained. */
function likelihoodBelow(above: Folder): (found: Folder) => number {
  const step = attempt(() => latestStep(above));
  return ({ path }) => {
    const names = path.slice(above.path.length).split("/");
    const isLatest = typeof step === "string" && names.some((name) => isOfStep(name, step));
    return (isLatest ? 2 : 0) + (TRAINED.test(names.at(-1) ?? "") ? 1 : 0);
  };
}

const foldersIn = (folder: Folder): Folder[] =>
  attempt(() =>
    folder
      .list()
      .filter((name) => folder.kind(name) === "folder")
      .map((name) => folder.folder(name)),
  ) ?? [];

/** The snapshot that the Hub's cache has as `main`. */
const revisionIn = (folder: Folder): string | null =>
  attempt(() =>
    has(folder, "refs/main") ? folder.pathOf(`snapshots/${readText(folder, "refs/main", 1 << 10).trim()}`) : null,
  );

/** Null where a place cannot be read: it is not the one that was meant. */
function attempt<T>(work: () => T): T | null {
  try {
    return work();
  } catch (error) {
    if (error instanceof ConvertCheckpointError) return null;
    throw error;
  }
}
