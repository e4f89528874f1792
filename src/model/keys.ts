// Which tensors of a checkpoint are the model's: trainers save them beside their own state.
import type { Checkpoint } from "../formats/checkpoint.ts";

/**
 * Roots of what trainers save beside a model: torchtitan and its like, and what PyTorch Lightning's `.ckpt` and
 * DeepSpeed's state files have.
 *   Lightning-AI/pytorch-lightning@2.6.0:src/lightning/pytorch/trainer/connectors/checkpoint_connector.py (`dump_checkpoint`)
 */
const TRAINER_ROOT = new RegExp(
  `^(?:${[
    "optim(?:izer)?s?(?:_states?)?(?:_dict)?",
    "(?:lr_)?schedulers?(?:_states?)?(?:_dict)?",
    "dataloader|train_state|trainer_state|rng_states?(?:_dict)?",
    "callbacks|loops|hyper_parameters|datamodule_hyper_parameters",
    // Of DeepSpeed: copies of what stands in its `module`, too.
    "frozen_param_fragments",
    "(?:native_)?amp_scaling_state|(?:grad_)?scaler(?:_state_dict)?",
    // Megatron-LM
    "common_state|opt_param_scheduler|rerun_state_machine_state|chained_\\d+",
  ].join("|")})(?:/.*)?$`,
);

/** What Transformer Engine keeps of a module beside its weights: scales of FP8, bytes without any. */
const EXTRA_STATE = /(?:^|[._])_?extra_state(?:\/|$)/;

/** How a checkpoint spells the keys of a model. */
export interface ModelKeys {
  /** What stood before the model's keys, e.g. `model.`. */
  readonly prefix: string;
  /** Key as its layout spells it → key in the checkpoint. */
  readonly model: ReadonlyMap<string, string>;
  /** Key in the checkpoint → key as its layout spells it. */
  readonly rename: (key: string) => string;
  /** What was taken out of the keys or put to them, in words. */
  readonly notes: readonly string[];
}

/** The model's tensors, by their keys in the checkpoint. */
export function modelTensors(checkpoint: Checkpoint): Checkpoint["tensors"] {
  const { tensors } = checkpoint;
  for (const key of tensors.keys())
    if (isTrainerState(checkpoint, key))
      return new Map([...tensors].filter(([key]) => !isTrainerState(checkpoint, key)));
  return tensors;
}

/** Their keys. */
export const modelKeys = (checkpoint: Checkpoint): string[] => Array.from(modelTensors(checkpoint).keys());

/** Whether an entry, tensor or not, belongs to optimizer, schedule, data loader or step counter. */
export function isTrainerState(checkpoint: Pick<Checkpoint, "paths">, key: string): boolean {
  if (EXTRA_STATE.test(key)) return true;
  const path = checkpoint.paths?.get(key) ?? [];
  const root = path.length > 1 ? String(path[0]) : beforeDot(key);
  if (isTrainerRoot(root)) return true;
  // `{"app": {"model": …, "optim": …}}`, as the DCP tutorial saves it
  return root === "app" && TRAINER_ROOT.test(key.split(".", 2)[1] ?? "");
}

function beforeDot(key: string): string {
  const dot = key.indexOf(".");
  return dot < 0 ? key : key.slice(0, dot);
}

/** One root comes for tens of thousands of keys, one after the other. */
let last = { root: "", isTrainers: false };

function isTrainerRoot(root: string): boolean {
  if (root !== last.root) last = { root, isTrainers: TRAINER_ROOT.test(root) };
  return last.isTrainers;
}

const reasonOf = (key: string): string => (EXTRA_STATE.test(key) ? "extra state of a module" : "trainer state");

/** Entries outside the model: trainer state, and what is no tensor. */
export function leftAlone(checkpoint: Checkpoint): { readonly key: string; readonly reason: string }[] {
  const trainer = [...checkpoint.tensors.keys()].filter((key) => isTrainerState(checkpoint, key));
  return [
    ...trainer.map((key) => ({ key, reason: reasonOf(key) })),
    ...checkpoint.others.map(({ key, tensor }) => ({
      key,
      reason: isTrainerState(checkpoint, key) ? reasonOf(key) : (tensor ?? "not a tensor"),
    })),
  ];
}
