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

/** Parts that DeepSpeed saves of a model: `mp_rank_01_model_states.pt`, `layer_03-model_00-model_states.pt`. */
const DEEPSPEED_PART = /^(?:(?:mp_rank|layer)_\d+|zero_pp_rank_\d+_).*_(?:model|optim)_states\.pt$/;

/** Where the weights are that ZeRO-3 takes out of a model. */
export const ZERO_HELP =
  "give the folder of the step (global_stepN) with the *_model_states.pt and *_optim_states.pt of all ranks in it: the second hold the weights";

export const MEGATRON_HELP =
  "save it with --ckpt-format torch_dist, whose folder is read for the families that have layout megatron (see `families`), or export it with Megatron Bridge: AutoBridge.from_hf_pretrained(ID).export_ckpt(megatron_path=FOLDER, hf_path=OUT)";

/** `--ckpt-format torch`: a folder a rank of tensor and pipeline parallelism. */
const isMegatronRank = (name: string): boolean => /^mp_rank_\d+(?:_\d+)*$/.test(name);

export const FOLDER_KINDS: readonly FolderKind[] = [
  {
    code: "UNCONSOLIDATED",
    what: "the root of a checkpoint of DeepSpeed, without a step",
    is: (names) => names.includes("zero_to_fp32.py"),
    help: () => ZERO_HELP,
  },
  {
    code: "UNCONSOLIDATED",
    what: "parts of a model that DeepSpeed cut by tensor or pipeline parallelism",
    is: some(DEEPSPEED_PART),
    help: () =>
      "only the trainer knows how these parts join: export the model with the trainer's own script for Hugging Face",
  },
  {
    code: "UNCONSOLIDATED",
    what: "a checkpoint of Megatron-LM, cut by its ranks",
    is: (names, folder) =>
      names.some(isMegatronRank) ||
      names.some((name) => /^(?:iter_\d+|release)$/.test(name) && folder.folder(name).list().some(isMegatronRank)),
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
