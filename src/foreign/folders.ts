// Folders that people give and that are no one checkpoint: what trainers leave that has to be put together first.
import type { Folder } from "../formats/io/folder.ts";

/** A kind of folder. The first one that fits names it. */
export interface FolderKind {
  readonly code: "UNCONSOLIDATED" | "PEFT_UNMERGED" | "NOT_A_CHECKPOINT";
  /** What the folder is, after its path. */
  readonly what: string;
  readonly is: (names: readonly string[], folder: Folder) => boolean;
  readonly help: (path: string, folder: Folder) => string;
}

const some = (pattern: RegExp) => (names: readonly string[]) => names.some((name) => pattern.test(name));

export const mergeHelp = (path: string): string =>
  `merge LoRA into its base: convert BASE OUT --merge-adapter ${path}; another kind with peft, and give OUT: PeftModel.from_pretrained(base, FOLDER).merge_and_unload().save_pretrained(OUT)`;

/** DeepSpeed's names: `mp_rank_00_model_states.pt`, `zero_pp_rank_0_mp_rank_00_optim_states.pt`. */
export const ZERO_FILE =
  /^(?:bf16_|fp16_)?(?:zero_pp_rank_\d+_)?(?:mp_rank|layer)_\d+.*_(?:model|optim)_states\.pt$|^(?:bf16_)?zero_pp_rank_/;
const ZERO_STEP = /^global_step\d+$/;

/** Where DeepSpeed's own script lies: in the folder, or beside it. */
export function zeroHelp(path: string, folder: Folder): string {
  const hasScript = folder.kind("zero_to_fp32.py") === "file";
  const script = hasScript ? "python zero_to_fp32.py . OUT" : "python -m deepspeed.utils.zero_to_fp32 . OUT";
  return `join the partitions with DeepSpeed's script, in ${path}: ${script} --safe_serialization; then give OUT`;
}

export const MEGATRON_HELP =
  "export it to Hugging Face with Megatron Bridge: AutoBridge.from_hf_pretrained(ID).export_ckpt(megatron_path=FOLDER, hf_path=OUT)";

export const FOLDER_KINDS: readonly FolderKind[] = [
  {
    code: "UNCONSOLIDATED",
    what: "a checkpoint of DeepSpeed, whose weights are cut into partitions",
    is: (names) =>
      names.includes("zero_to_fp32.py") || (names.includes("latest") && names.some((n) => ZERO_STEP.test(n))),
    help: zeroHelp,
  },
  {
    code: "UNCONSOLIDATED",
    what: "a step of DeepSpeed, whose weights and optimizer lie in partitions",
    is: some(ZERO_FILE),
    help: (path, folder) => {
      const whole = folder.list().find((name) => /^mp_rank_00_model_states\.pt$/.test(name));
      const up = `in the folder above ${path}, which has \`latest\`: python zero_to_fp32.py . OUT --safe_serialization`;
      return whole === undefined
        ? up
        : `give ${folder.pathOf(whole)} for the weights in training's precision, or, ${up}`;
    },
  },
  {
    code: "UNCONSOLIDATED",
    what: "a checkpoint of Megatron-LM, cut by its ranks",
    is: (names) =>
      names.some((name) => /^mp_rank_\d+(?:_\d+)*$/.test(name)) || names.includes("latest_checkpointed_iteration.txt"),
    help: () => MEGATRON_HELP,
  },
  {
    code: "NOT_A_CHECKPOINT",
    what: "a checkpoint of Orbax (JAX)",
    is: (names) =>
      names.some((name) => ["_CHECKPOINT_METADATA", "manifest.ocdbt", "_METADATA", ".orbax-checkpoint"].includes(name)),
    help: () =>
      "restore it with orbax.checkpoint, and save the arrays under Hugging Face's names: safetensors.numpy.save_file",
  },
  {
    code: "NOT_A_CHECKPOINT",
    what: "arrays of zarr",
    is: (names) => names.some((name) => /^(?:zarr\.json|\.zarray|\.zgroup|\.zmetadata)$/.test(name)),
    help: () => "read them with zarr, and save them under Hugging Face's names: safetensors.numpy.save_file",
  },
  {
    code: "PEFT_UNMERGED",
    what: "a PEFT adapter: changes to a base model, not the model",
    is: (names) => names.includes("adapter_config.json") || names.includes("adapter_model.bin"),
    help: (path) => mergeHelp(path),
  },
];

export const folderKindOf = (names: readonly string[], folder: Folder): FolderKind | undefined =>
  FOLDER_KINDS.find(({ is }) => is(names, folder));
