// Weights of PEFT that were not merged into their base: an adapter alone, or beside the base in one state.
import type { Checkpoint, TensorInfo } from "../formats/checkpoint.ts";
import { ADAPTER_FILE } from "../formats/file-names.ts";

/** Names that peft's tuners give their parameters. */
const ADAPTER_KEY =
  /(?:^|\.)(?:lora_(?:A|B|embedding_A|embedding_B|magnitude_vector|E)|modules_to_save|original_module|ia3_l|vera_lambda_[bd]|hada_w[12]_[ab]|lokr_w[12](?:_[ab])?|oft_[rsR]|boft_[Rs]|prompt_embeddings|trainable_tokens_delta)(?:\.|$)/;

export interface Unmerged {
  readonly example: string;
  /** Whether the base is there, too. */
  readonly hasBase: boolean;
}

/** What a reader of reports ought to know of an adapter that lies beside what was opened. */
export const adapterBeside = ({ folder, files }: Pick<Checkpoint, "folder" | "files">): string[] =>
  folder
    .list()
    .filter((name) => ADAPTER_FILE.test(name) && !files.includes(name))
    .map((name) => `a PEFT adapter lies beside: ${name}: it is not merged into this`);

/** @param isAdapterFile whether the file has the name of an adapter's */
export function unmergedIn(tensors: Iterable<TensorInfo>, isAdapterFile: boolean): Unmerged | null {
  let [example, others, first]: [string | undefined, number, string | undefined] = [undefined, 0, undefined];
  for (const { key } of tensors) {
    first ??= key;
    if (ADAPTER_KEY.test(key)) example ??= key;
    else others++;
  }
  const shown = example ?? (isAdapterFile ? first : undefined);
  return shown === undefined ? null : { example: shown, hasBase: others > 0 && !isAdapterFile };
}
