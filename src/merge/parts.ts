// The tensors of an adapter's file, by what they are to its base: factors of products, and tensors that take another's place.
//   huggingface/peft@v0.21.2:src/peft/utils/save_and_load.py, `get_peft_model_state_dict`
import { InputError } from "../base/errors.ts";
import { isFloat } from "../base/floats.ts";
import type { Checkpoint, TensorInfo } from "../formats/checkpoint.ts";
import { PEFT_HELP } from "./config.ts";

/** Two factors of one module. */
export interface Pair {
  /** The module's name in the base. */
  readonly module: string;
  /** How many wrappers of single parameters of the module stand outside of this one. */
  readonly depth: number;
  readonly kind: "linear" | "embedding";
  readonly a: TensorInfo;
  readonly b: TensorInfo;
  /** Bias of the second factor (`lora_bias`). */
  readonly bias: TensorInfo | null;
}

export interface AdapterParts {
  readonly pairs: readonly Pair[];
  /** Name of a tensor of the base → the tensor of the adapter that takes its place. */
  readonly replaced: ReadonlyMap<string, TensorInfo>;
  /** Names in `replaced` of tensors that were saved as the base had them, below what is added to them. */
  readonly copies: ReadonlySet<string>;
}

const FACTOR = /^(.+?)\.lora_(embedding_)?([AB])(?:\.(?!weight$|bias$)[^.]+)?(?:\.(weight|bias))?$/;
/** What other kinds of adapters, and variants of LoRA, keep beside the factors. */
const OTHER =
  /(?:^|\.)(?:lora_[A-Za-z_]+|ia3_l|vera_lambda_[bd]|hada_w[12]_[ab]|lokr_w[12](?:_[ab])?|oft_[rsR]|boft_[Rs]|prompt_embeddings|token_adapter|trainable_tokens_delta|original_module)(?:\.|$)/;
const LEADS = ["base_model.model.", "base_model."];

interface Slot {
  a?: TensorInfo;
  b?: TensorInfo;
  bias?: TensorInfo;
}

/** @throws InputError ADAPTER_UNSUPPORTED, ADAPTER_MALFORMED for a factor without the other */
export function partsOf(adapter: Checkpoint): AdapterParts {
  const slots = new Map<string, Slot & Pick<Pair, "module" | "depth" | "kind">>();
  const replaced = new Map<string, TensorInfo>();
  const copies = new Set<string>();
  for (const info of adapter.tensors.values()) {
    if (!isFloat(info.dtype)) throw unsupported(adapter, info, `it is stored as ${info.dtype}`);
    const name = withoutLead(info.key);
    const [, module = "", embedding, letter, leaf] = FACTOR.exec(name) ?? [];
    if (module === "") {
      if (OTHER.test(name)) throw unsupported(adapter, info, "it is no factor of plain LoRA");
      replaced.set(baseName(name), info);
      if (name.endsWith(".base_layer.weight")) copies.add(baseName(name));
      continue;
    }
    const own = unwrapped(module);
    const id = `${embedding ?? ""}${module}`;
    const slot = slots.get(id) ?? { ...own, kind: embedding === undefined ? "linear" : "embedding" };
    slots.set(id, slot);
    if (leaf === "bias" && letter === "B") slot.bias = info;
    else if (leaf === "bias") throw unsupported(adapter, info, "the first factor has a bias");
    else if (letter === "A") slot.a = info;
    else slot.b = info;
  }
  const pairs = [...slots.values()].map(({ a, b, bias = null, ...rest }): Pair => {
    if (a === undefined || b === undefined) throw lone(adapter, a ?? b ?? bias);
    for (const info of [a, b]) if (info.shape.length !== 2) throw unsupported(adapter, info, shapeWords(info));
    return { ...rest, a, b, bias };
  });
  return { pairs, replaced, copies };
}

const shapeWords = ({ shape }: TensorInfo): string =>
  shape.includes(0)
    ? "it is empty: ZeRO-3 or FSDP had not gathered it when it was saved"
    : `a factor of ${shape.length} dimensions, as of a convolution`;

function withoutLead(key: string): string {
  const lead = LEADS.find((each) => key.startsWith(each));
  return lead === undefined ? key : key.slice(lead.length);
}

const baseName = (name: string): string =>
  name.replaceAll(".base_layer.", ".").replace(/\.modules_to_save\.(?:default\.)?/, ".");

/** Wrappers of parameters are nested: the outer one holds the inner one as its base layer. */
function unwrapped(module: string): Pick<Pair, "module" | "depth"> {
  let [name, depth] = [module, 0];
  for (; name.endsWith(".base_layer"); depth += 1) name = name.slice(0, -".base_layer".length);
  return { module: name, depth };
}

const unsupported = ({ path }: Checkpoint, { key, dtype, shape }: TensorInfo, why: string): InputError =>
  new InputError("ADAPTER_UNSUPPORTED", `${path}: "${key}" is not merged here: ${why}`, {
    tensor: key,
    file: path,
    expected: "factors of LoRA (lora_A, lora_B, lora_embedding_A, lora_embedding_B), and whole tensors",
    found: `${dtype} [${shape.join(", ")}]`,
    help: PEFT_HELP,
  });

const lone = ({ path }: Checkpoint, info: TensorInfo | null | undefined): InputError =>
  new InputError("ADAPTER_MALFORMED", `${path}: "${info?.key}" stands alone: its other factor is not there`, {
    tensor: `${info?.key}`,
    file: path,
    expected: "lora_A and lora_B of each module",
    found: "one of them",
    help: "take the adapter from where it was saved, whole",
  });
