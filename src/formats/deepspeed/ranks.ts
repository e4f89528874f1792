// The files of all ranks of a step: each is there, and of this run.
import { InputError } from "../../base/errors.ts";
import { refuse } from "../io/refuse.ts";
import type { StepFiles } from "./names.ts";
import { type ModelStates, modelStates, type OptimizerStates, optimizerStates, type StateFile } from "./states.ts";

type Read = (name: string) => StateFile;

const nameOf = (example: string, rank: number): string => example.replace(/zero_pp_rank_\d+_/, `zero_pp_rank_${rank}_`);

/** In the order of the ranks. Throws InputError RANK_MISSING, RANK_FOREIGN, PARTITION_MISSING, and what reading throws. */
export function optimizerRanks(step: StepFiles, read: Read): readonly [OptimizerStates, ...OptimizerStates[]] {
  const [[, name] = []] = step.optimizer;
  if (name === undefined) throw noPartitions(step);
  const first = optimizerStates(read(name));
  const { ranks: count, stage } = first;
  const own = (rank: number): OptimizerStates => {
    const file = step.optimizer.get(rank);
    if (file === undefined) throw rankMissing(step, nameOf(name, rank), `${step.optimizer.size} of ${count} ranks`);
    if (file === name) return first;
    const states = optimizerStates(read(file));
    if (states.ranks === count && states.stage === stage) return states;
    throw rankForeign(states.file.where.file, first, `one of ${states.ranks} ranks of ZeRO-${states.stage}`);
  };
  refuseForeign(step, step.optimizer, first);
  const others = Array.from({ length: count - 1 }, (_, i) => own(i + 1));
  return [own(0), ...others];
}

/** Of every rank where each has its own, else of all. Throws as `optimizerRanks`. */
export function modelRanks(
  step: StepFiles,
  first: OptimizerStates,
  read: Read,
): readonly [ModelStates, ...ModelStates[]] {
  const own = (rank: number | null): ModelStates => {
    const file = step.model.get(rank);
    if (file !== undefined) return modelStates(read(file));
    throw rankMissing(
      step,
      modelName(step, rank),
      [...step.model.values()].slice(0, 4).join(", ") || "no model states",
    );
  };
  if (first.cuts === "groups") return [own(null)];
  refuseForeign(step, step.model, first);
  return [own(0), ...Array.from({ length: first.ranks - 1 }, (_, i) => own(i + 1))];
}

const modelName = ({ tag }: StepFiles, rank: number | null): string =>
  `${tag === null ? "" : `${tag}/`}${rank === null ? "" : `zero_pp_rank_${rank}_`}mp_rank_00_model_states.pt`;

function refuseForeign({ folder }: StepFiles, files: ReadonlyMap<number | null, string>, first: OptimizerStates): void {
  for (const [rank, name] of files)
    if (rank === null || rank >= first.ranks)
      throw rankForeign(
        folder.pathOf(name),
        first,
        rank === null ? "the file of all ranks of ZeRO-1 or 2" : `rank ${rank}`,
      );
}

const rankForeign = (file: string, { ranks, stage, file: { name } }: OptimizerStates, found: string): InputError =>
  refuse({ file }, "RANK_FOREIGN", "is of another run than the files beside it", {
    expected: `one of ${ranks} ranks of ZeRO-${stage}, as ${name} says`,
    found,
    help: "move away what is of another run: a step that was saved over one of more ranks leaves the rest of it",
  });

function rankMissing({ folder }: StepFiles, name: string, found: string): InputError {
  const file = folder.pathOf(name);
  return new InputError("RANK_MISSING", `${file}: this rank of the model is missing`, {
    file,
    expected: name,
    found,
    help: "copy the files of all ranks into one folder, each node of a cluster saves its own: each holds a part of the weights",
  });
}

const noPartitions = ({ folder, model }: StepFiles): InputError =>
  new InputError(
    "PARTITION_MISSING",
    `${folder.path}: holds what ZeRO-3 leaves of a model, and no partition of its weights`,
    {
      file: folder.path,
      expected: "zero_pp_rank_0_mp_rank_00_optim_states.pt and those of the other ranks",
      found: [...model.values()].slice(0, 4).join(", "),
      help: "copy the *_optim_states.pt of all ranks, too: they hold the weights",
    },
  );
