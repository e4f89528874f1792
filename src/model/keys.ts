// Which tensors of a checkpoint are the model's: trainers save them flat or under a name, beside their own state.
import type { Checkpoint } from "../formats/checkpoint.ts";

/** Roots of what torchtitan and its like save beside a model. */
const TRAINER_ROOTS: ReadonlySet<string> = new Set([
  "optimizer",
  "optimizers",
  "optim",
  "lr_scheduler",
  "lr_schedulers",
  "scheduler",
  "dataloader",
  "train_state",
]);

/** Names that model state is saved under; HF's own keys begin with `model.` too, so the flat reading comes first. */
const PREFIXES = ["", "model.", "model.module.", "module.", "app.model.", "state_dict.", "model_state_dict."] as const;

export interface ModelKeys {
  /** What stood before the model's keys, e.g. `model.`. */
  readonly prefix: string;
  /** Key as its layout spells it → key in the checkpoint. */
  readonly model: ReadonlyMap<string, string>;
}

/** Ways to read the keys of a checkpoint, likeliest first. */
export function modelKeyReadings(checkpoint: Checkpoint): readonly ModelKeys[] {
  const own = [...checkpoint.tensors.keys()].filter((key) => !isTrainerState(checkpoint, key));
  return PREFIXES.filter((prefix) => own.some((key) => key.startsWith(prefix))).map((prefix) => ({
    prefix,
    model: new Map(own.map((key) => [key.startsWith(prefix) ? key.slice(prefix.length) : key, key])),
  }));
}

/** Whether an entry, tensor or not, belongs to optimizer, schedule, data loader or step counter. */
export function isTrainerState(checkpoint: Checkpoint, key: string): boolean {
  const path = checkpoint.paths?.get(key) ?? [];
  const root = path.length > 1 ? String(path[0]) : (key.split(".", 1)[0] ?? "");
  if (TRAINER_ROOTS.has(root)) return true;
  // `{"app": {"model": …, "optim": …}}`, as the DCP tutorial saves it
  return root === "app" && TRAINER_ROOTS.has(key.split(".", 2)[1] ?? "");
}

/** Entries outside the model: trainer state, and what is no tensor. */
export function leftAlone(checkpoint: Checkpoint): { readonly key: string; readonly reason: string }[] {
  const trainer = [...checkpoint.tensors.keys()].filter((key) => isTrainerState(checkpoint, key));
  return [
    ...trainer.map((key) => ({ key, reason: "trainer state" })),
    ...checkpoint.others.map(({ key, tensor }) => ({
      key,
      reason: isTrainerState(checkpoint, key) ? "trainer state" : (tensor ?? "not a tensor"),
    })),
  ];
}
