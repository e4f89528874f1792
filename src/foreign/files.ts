// Files that people give and that are no checkpoint: by their first bytes, or by their names.
import { isAddress } from "../base/addresses.ts";
import type { SeenFile } from "./seen.ts";

/** A kind of file. The first one that fits names it. */
export interface FileKind {
  /** With an article: `a GGUF file of llama.cpp`. */
  readonly what: string;
  /** `NOT_A_CHECKPOINT` unless given. */
  readonly code?: "TORCH_SCRIPT";
  /** The next step. `path` is that of the file, `folder` that of where it lies. */
  readonly help: (path: string, folder: string) => string;
  /** Told by the content. */
  readonly is?: (file: SeenFile) => boolean;
  /** Told by the name alone, where it lies in a folder without a checkpoint. */
  readonly named?: RegExp;
}

const UNPACKED = (path: string): string => `unpack ${path} and give the folder that comes out of it`;
const ORIGINAL = "take the model's files for PyTorch (*.safetensors) from where it came from";

const begins = (text: string) => (file: SeenFile) => file.text.startsWith(text);
const holds = (pattern: RegExp) => (file: SeenFile) =>
  file.text.startsWith("PK\u0003\u0004") && file.entries().some((name) => pattern.test(name));

export const FILE_KINDS: readonly FileKind[] = [
  {
    what: "a git-lfs pointer, not the file itself",
    is: begins("version https://git-lfs.github.com/spec/"),
    help: (_, folder) =>
      isAddress(folder)
        ? "whoever owns the repository has committed the pointer in place of the weights: take another revision, or ask them to upload it"
        : `fetch the weights: run \`git lfs pull\` in ${folder}, or \`hf download\` the model anew`,
  },
  {
    what: "a GGUF file of llama.cpp",
    is: begins("GGUF"),
    named: /\.gguf$/i,
    help: () =>
      "take the model's original weights; where there are none, transformers dequantises it: AutoModelForCausalLM.from_pretrained(FOLDER, gguf_file=NAME).save_pretrained(OUT)",
  },
  {
    what: "a GGML file of an old llama.cpp",
    is: ({ text }) => /^(?:lmgg|tjgg|fmgg|algg)/.test(text),
    help: () => "take the model's original weights",
  },
  {
    what: "a web page",
    is: ({ text }) => /^(?:\u00ef\u00bb\u00bf)?\s*<(?:!doctype html|html|head|body)/i.test(text),
    help: () =>
      "the download brought a page instead of the file: log in if the model asks for it, and take /resolve/ in place of /blob/ in the address, or `hf download` the model",
  },
  {
    what: "an XML document, such as a storage service answers with instead of a file",
    is: ({ text }) => /^(?:\u00ef\u00bb\u00bf)?\s*<\?xml/.test(text),
    help: (path) => `read ${path} for what it says, and download the file again`,
  },
  {
    what: "an HDF5 file of Keras",
    is: begins("\u0089HDF\r\n\u001a\n"),
    named: /\.(?:h5|hdf5|keras)$/i,
    help: () => `${ORIGINAL}, or load it with TensorFlow and save it for PyTorch`,
  },
  {
    what: "one array of NumPy",
    is: begins("\u0093NUMPY"),
    named: /\.npy$/i,
    help: () => "save the arrays under their names: safetensors.numpy.save_file({name: array, …}, 'model.safetensors')",
  },
  {
    what: "arrays of NumPy",
    is: holds(/\.npy$/),
    named: /\.npz$/i,
    help: (path) =>
      `save them as safetensors: safetensors.numpy.save_file(dict(numpy.load(${JSON.stringify(path)})), 'model.safetensors')`,
  },
  {
    what: "a TorchScript program, not a checkpoint",
    code: "TORCH_SCRIPT",
    is: holds(/(?:^|\/)constants\.pkl$/),
    help: (path) =>
      `its weights can be saved: torch.save(torch.jit.load(${JSON.stringify(path)}).state_dict(), 'model.pt')`,
  },
  {
    what: "a program that torch.export saved",
    is: holds(/(?:^|\/)(?:archive_format|serialized_exported_program\.json|models\/[^/]*\.json)$/),
    named: /\.pt2$/i,
    help: (path) =>
      `its weights can be saved: torch.save(torch.export.load(${JSON.stringify(path)}).state_dict, 'model.pt')`,
  },
  {
    what: "a zip of other files",
    // Where no entry shows, the file is cut off.
    is: (file) => holds(/./)(file) && !holds(/(?:^|\/)data\.pkl$/)(file),
    named: /\.zip$/i,
    help: UNPACKED,
  },
  {
    what: "an archive of NeMo",
    is: ({ name, head }) => /\.nemo$/i.test(name) && head.length > 0,
    named: /\.nemo$/i,
    help: () =>
      "unpack it: a NeMo 2 checkpoint in it (a folder `weights` with .metadata) is read in layout megatron; any other has to be exported with NeMo or Megatron Bridge",
  },
  {
    what: "a packed archive",
    is: ({ text, head }) =>
      text.startsWith("\u001f\u008b") ||
      text.startsWith("\u0028\u00b5\u002f\u00fd") ||
      text.startsWith("7z\u00bc\u00af") ||
      head.subarray(257, 262).toString("latin1") === "ustar",
    named: /\.(?:tar|tgz|gz|zst|7z|xz)$/i,
    help: UNPACKED,
  },
  {
    what: "an ONNX graph",
    is: ({ name }) => /\.onnx$/i.test(name),
    named: /\.onnx(?:_data)?$/i,
    help: () => `${ORIGINAL}: a graph keeps its weights under names of its own`,
  },
  {
    what: "weights of Flax",
    is: ({ name }) => /\.msgpack$/i.test(name),
    named: /\.msgpack$/i,
    help: () => `${ORIGINAL}, or load it with transformers 4 (from_flax=True) and save_pretrained`,
  },
  {
    what: "a checkpoint of TensorFlow",
    is: ({ name }) => /\.(?:pb|ckpt\.(?:index|meta|data-\d+-of-\d+))$/.test(name),
    named: /^(?:saved_model\.pb|.*\.ckpt\.index|tf_model\.h5)$/,
    help: () => ORIGINAL,
  },
  {
    what: "a model's config, not its weights",
    is: ({ name, text }) => /^(?:config|params)\.json$/.test(name) && /^\s*\{/.test(text),
    help: (_, folder) => `give the folder, ${folder}; a config for other weights goes with --config`,
  },
  {
    what: "the config of a PEFT adapter, not weights",
    is: ({ name }) => name === "adapter_config.json",
    help: () =>
      "merge the adapter into its base with peft (PeftModel.from_pretrained(base, FOLDER).merge_and_unload().save_pretrained(OUT)), and give OUT",
  },
  {
    what: "a JSON file",
    // What is wrong with an index is told by whoever reads it.
    is: ({ name, text }) => /\.json$/.test(name) && !/\.index(?:\.[^.]+)?\.json$/.test(name) && /^\s*[[{]/.test(text),
    help: (_, folder) => `give the folder of the checkpoint, such as ${folder}`,
  },
];

export const fileKindOf = (file: SeenFile): FileKind | undefined => FILE_KINDS.find(({ is }) => is?.(file) === true);

export const fileKindNamed = (name: string): FileKind | undefined => FILE_KINDS.find(({ named }) => named?.test(name));
