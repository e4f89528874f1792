// The config ties the head to the embedding, and the file has another tensor under its name: a stale copy, or a head that
// was trained on its own (Megatron-Bridge#4883, mergekit#424).
import type { ModelFault } from "../fault.ts";

interface Tie {
  readonly alias: string;
  readonly of: string;
}

/** Recognised among the ties whose two tensors differ in bytes. */
export const staleTiedHead: ModelFault<readonly Tie[], Tie> = {
  code: "STALE_TIED_HEAD",
  of: "model",
  recognise: ([tie]) => tie ?? null,
  words: ({ alias, of }) => `the config says that "${alias}" is "${of}", but another tensor is stored under that name`,
  mend: ({ alias }) => `set tie_word_embeddings to false if "${alias}" is the trained head, else remove it`,
};
