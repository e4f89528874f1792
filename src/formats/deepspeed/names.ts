// Names of what DeepSpeed saves: a folder a step, with a file of the model's states and one of the optimizer's a rank; above it
// `latest`, which names the last step.
// Source: deepspeedai/DeepSpeed@v0.19.8:deepspeed/runtime/engine.py (`_get_rank_zero_ckpt_name`, `_get_ckpt_name`)
import { join } from "node:path";
import { InputError } from "../../base/errors.ts";
import type { Checkpoint } from "../checkpoint.ts";
import { DiskFolder } from "../io/disk-folder.ts";
import { type Folder, has, readText } from "../io/folder.ts";

const MODEL = /^(?:zero_pp_rank_(\d+)_)?mp_rank_(\d+)_model_states\.pt$/;
const OPTIMIZER = /^(?:bf16_|fp16_)?zero_pp_rank_(\d+)_mp_rank_(\d+)_optim_states\.pt$/;
/** Of pipeline stages, and of the experts of DeepSpeed's own MoE. */
const OTHER_PART = /^(?:layer_\d+.*_model_states|.*expp?_rank_\d+.*_optim_states)\.pt$/;
const STEP = /^global_step(\d+)$/;
const LATEST = "latest";
const LATEST_LIMIT = 1 << 12;

/** The files of one step, by rank, their names as in `folder`. */
export interface StepFiles {
  readonly folder: Folder;
  /** Of the step; null where it is `folder` itself. */
  readonly tag: string | null;
  /** Null for the one file that ZeRO-1 and 2 keep for all ranks. */
  readonly model: ReadonlyMap<number | null, string>;
  readonly optimizer: ReadonlyMap<number, string>;
}

/**
 * The step that a folder is, or that lies below it: the one that `latest` names, else the only one. Null where there is none.
 * @throws InputError STEP_MISSING, AMBIGUOUS_CHECKPOINT, UNCONSOLIDATED for models that are cut otherwise too
 */
export function stepIn(folder: Folder): StepFiles | null {
  const names = folder.list();
  if (names.some((name) => isPartition(name))) return filesOf(folder, null, names);
  const tag = tagIn(folder, names);
  return tag === null ? null : filesOf(folder, tag, folder.folder(tag).list());
}

/** Names that no other trainer gives: a file of ranks. */
const isPartition = (name: string): boolean => OPTIMIZER.test(name) || /^zero_pp_rank_\d+_/.test(name);
const isPart = (name: string): boolean => MODEL.test(name) || isPartition(name);

function tagIn(folder: Folder, names: readonly string[]): string | null {
  const steps = names.filter((name) => STEP.test(name) && folder.folder(name).list().some(isPart));
  if (names.includes(LATEST) && folder.kind(LATEST) === "file") {
    const tag = readText(folder, LATEST, LATEST_LIMIT).trim();
    if (names.includes(tag) && folder.kind(tag) === "folder" && folder.folder(tag).list().some(isPart)) return tag;
    if (steps.length > 0) throw stepMissing(folder, tag, steps);
    return null;
  }
  const [only, another] = steps;
  if (another === undefined) return only ?? null;
  throw new InputError(
    "AMBIGUOUS_CHECKPOINT",
    `${folder.path}: holds ${steps.length} steps of DeepSpeed and no \`latest\``,
    {
      file: folder.path,
      expected: "one step, or a file `latest` that names it",
      found: steps.slice(0, 4).join(", "),
      help: `name the step that you mean: ${folder.pathOf(lastOf(steps))}`,
    },
  );
}

const lastOf = (steps: readonly string[]): string =>
  steps.toSorted((a, b) => Number(STEP.exec(b)?.[1]) - Number(STEP.exec(a)?.[1]))[0]!;

const stepMissing = (folder: Folder, tag: string, steps: readonly string[]): InputError =>
  new InputError("STEP_MISSING", `${folder.pathOf(LATEST)}: names a step that is not there: ${JSON.stringify(tag)}`, {
    file: folder.pathOf(LATEST),
    expected: `a folder ${JSON.stringify(tag)}`,
    found: steps.slice(0, 4).join(", "),
    help: `copy that step again, or give the one that you mean: ${folder.pathOf(lastOf(steps))}`,
  });

function filesOf(folder: Folder, tag: string | null, names: readonly string[]): StepFiles {
  const at = (name: string): string => (tag === null ? name : `${tag}/${name}`);
  const model = new Map<number | null, string>();
  const optimizer = new Map<number, string>();
  for (const name of names) {
    const [, rank, part] = MODEL.exec(name) ?? OPTIMIZER.exec(name) ?? [];
    if (OTHER_PART.test(name) || Number(part) > 0) throw cutOtherwise(folder, at(name));
    if (MODEL.test(name)) model.set(rank === undefined ? null : Number(rank), at(name));
    else if (OPTIMIZER.test(name)) {
      const other = optimizer.get(Number(rank));
      if (other !== undefined) throw rankTwice(folder, Number(rank), other, at(name));
      optimizer.set(Number(rank), at(name));
    }
  }
  return { folder, tag, model, optimizer };
}

const cutOtherwise = (folder: Folder, name: string): InputError =>
  new InputError("UNCONSOLIDATED", `${folder.pathOf(name)}: a part of a model that was cut by more than ZeRO`, {
    file: folder.pathOf(name),
    expected: "parameters cut by ZeRO alone, all ranks of one model: mp_rank_00",
    found: "tensor or pipeline parallelism, or experts of DeepSpeed's MoE",
    help: "only the trainer knows how these parts join: export the model with the trainer's own script for Hugging Face",
  });

const rankTwice = (folder: Folder, rank: number, first: string, second: string): InputError =>
  new InputError("RANK_TWICE", `${folder.pathOf(second)}: a second file of rank ${rank}`, {
    file: folder.pathOf(second),
    expected: `${first} alone`,
    found: `${first} and ${second}`,
    help: "one of them is of an earlier run: move it away",
  });

/** DeepSpeed's root above a step, where a trainer keeps config and tokenizer; null where there is none on this disk. */
export function rootOf({ folder, tag }: StepFiles): Folder | null {
  const place = folder.diskPathOf();
  if (tag !== null || place === null || has(folder, "config.json")) return null;
  const root = new DiskFolder(join(place, ".."));
  return (has(root, LATEST) || has(root, "zero_to_fp32.py")) && has(root, "config.json") ? root : null;
}

/** What a reader of reports ought to know of partitions that lie beside what was opened, whose weights are more precise. */
export function partitionsBeside({ folder, files }: Pick<Checkpoint, "folder" | "files">): string[] {
  if (folder.kind(LATEST) !== "file" || files.some((name) => name.includes("/"))) return [];
  const tag = folder.list().find((name) => STEP.test(name) && folder.folder(name).list().some(isPartition));
  return tag === undefined
    ? []
    : [`DeepSpeed's partitions, with f32 weights, lie beside: to convert those give ${folder.pathOf(tag)}`];
}

/** Whether a file of this name is one rank's part of the weights. */
export const isWeightPartition = (name: string): boolean => OPTIMIZER.test(name);
