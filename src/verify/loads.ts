// What transformers would make of a Hugging Face folder: `from_pretrained` looks for names of files and of tensors, and
// what it does not find it initialises without a word.
//   huggingface/transformers@v5.23.0:src/transformers/modeling_utils.py (`_get_resolved_checkpoint_files`)
//   huggingface/transformers@v5.23.0:src/transformers/core_model_loading.py (`rename_source_key`)
import type { Model } from "../model/model.ts";
import { hasTokenizer } from "../model/side-files.ts";
import type { Difference } from "../views/difference.ts";
import { tokenIdFaults } from "./token-ids.ts";

export interface Loading {
  readonly differences: readonly Difference[];
  readonly notes: readonly string[];
}

/** Files that `from_pretrained` opens without being told their names, and those that it opens with `variant=`. */
const WEIGHTS = /^(?:model\.safetensors(?:\.index\.json)?|pytorch_model\.bin(?:\.index\.json)?)$/;
const VARIANT = /^(?:model|pytorch_model)\.(?:[^.]+\.(?:safetensors|bin)|(?:safetensors|bin)\.index\.[^.]+\.json)$/;

/** In containers of transformers, the folder as it would load it; null for other containers and layouts. */
export function loading(model: Model): Loading | null {
  const { checkpoint, layout } = model;
  const isBin = checkpoint.files.some((name) => name.endsWith(".bin"));
  if (layout.side !== "hf" || (checkpoint.format !== "safetensors" && !isBin)) return null;
  const ids = tokenIdFaults(model);
  const isFolder = checkpoint.path === checkpoint.folder.path;
  const files = isFolder ? fileFaults(model) : [];
  return {
    differences: [...files, ...nameFaults(model), ...ids.differences],
    notes: [...(isFolder ? folderNotes(model) : []), ...ids.notes],
  };
}

/** Keys that it does not find: it takes one `model.` off, or puts one before, and nothing else. */
function nameFaults({ stored, checkpoint }: Model): Difference[] {
  const lost = [...stored.names].filter(([key, name]) => name !== `model.${key}` && `model.${name}` !== key);
  const [first] = lost;
  if (first === undefined) return [];
  const [key, name] = first;
  const all = checkpoint.tensors.size;
  const detail = `transformers looks for "${key}" and leaves this one: ${lost.length} of ${all} tensors would be initialised anew; convert with --to hf, which writes plain keys`;
  return [{ key: name, kind: "unloadable", detail }];
}

function fileFaults({ checkpoint, stored }: Model): Difference[] {
  const { files, folder } = checkpoint;
  const named = stored.config.json.transformers_weights;
  if (files.some((name) => WEIGHTS.test(name) || VARIANT.test(name) || name === named)) return [];
  const looksFor = "model.safetensors, its index, pytorch_model.bin or its index";
  const detail = `transformers looks for ${looksFor} and finds no weights in ${folder.path}: name the file model.safetensors, or convert with --to hf`;
  return [{ key: files[0] ?? folder.path, kind: "unloadable", detail }];
}

function folderNotes({ checkpoint, stored }: Model): string[] {
  const { files, folder } = checkpoint;
  const variant = files.find((name) => VARIANT.test(name));
  const isOnlyVariant = variant !== undefined && !files.some((name) => WEIGHTS.test(name));
  return [
    ...(isOnlyVariant ? [`transformers loads ${variant} only where variant= names it`] : []),
    ...configNotes(stored.config.json, stored.config.folder.path === folder.path),
    ...(hasTokenizer(folder.list().map((name) => ({ folder, name })))
      ? []
      : ["no tokenizer beside the weights: AutoTokenizer finds none"]),
  ];
}

/** The classes that `AutoModelForCausalLM` and its like take are of the model_type; others go by `architectures`. */
function configNotes(
  { architectures, model_type: type, auto_map: custom }: Model["stored"]["config"]["json"],
  isOwn: boolean,
) {
  if (!isOwn) return ["no config.json of its own beside the weights: transformers needs one there"];
  const [name] = Array.isArray(architectures) ? architectures : [];
  if (typeof name !== "string")
    return ["config.json names no architectures: transformers' Auto classes load it, pipelines and vLLM need the name"];
  if (custom !== undefined || typeof type !== "string") return [];
  const plain = (text: string) => text.toLowerCase().replaceAll(/[_-]/g, "");
  const isOfType = plain(name).startsWith(plain(type.replace(/_text$/, "")));
  const hasHead = /(?:ForCausalLM|ForConditionalGeneration)$/.test(name);
  return isOfType && hasHead
    ? []
    : [
        `config.json names ${name} and model_type ${type}: transformers' Auto classes go by model_type, pipelines and vLLM by the name`,
      ];
}
