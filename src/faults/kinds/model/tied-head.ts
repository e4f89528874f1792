// Output heads that are, or are not, the embedding.
import { bitFlipped, bytesOf } from "../../edit.ts";
import type { Sample } from "../../fault.ts";
import { type Kind, withTensors } from "../kind.ts";
import { keysLike, textConfig } from "../names.ts";

/** Key of the embedding of tokens. */
export const embeddingOf = (sample: Sample): string | undefined => keysLike(sample, /(?:^|\.)embed_tokens\.weight$/)[0];

/** Where transformers looks for the head of a model with this embedding. */
export const headOf = (embedding: string): string =>
  embedding.startsWith("language_model.") ? "language_model.lm_head.weight" : "lm_head.weight";

export const isTied = ({ config }: Sample): boolean =>
  (config.tie_word_embeddings ?? textConfig(config).tie_word_embeddings) === true;

export const TIED_HEAD: readonly Kind[] = [
  {
    name: "tied-head-stale",
    code: "STALE_TIED_HEAD",
    alsoCodes: ["TIE_BROKEN"],
    about: "the config ties the head to the embedding, the file has another one (Megatron-Bridge#4883, mergekit#424)",
    keepsShapes: false,
    places(sample) {
      const embedding = embeddingOf(sample);
      return isTied(sample) && embedding !== undefined ? [headOf(embedding)] : [];
    },
    make(sample, head) {
      const embedding = embeddingOf(sample)!;
      const bytes = () => bitFlipped(bytesOf(sample.source, embedding), 0);
      return withTensors(sample, { [head]: { bytes, info: sample.source.tensors.get(embedding)! } });
    },
  },
  {
    name: "trained-head-dropped",
    code: "MISSING_TENSOR",
    about: "a head that was trained on its own left out (litgpt#1727, torchtitan#3557)",
    keepsShapes: false,
    places: (sample) => (isTied(sample) ? [] : keysLike(sample, /(?:^|\.)lm_head\.weight$/)),
    make: (sample, key) => withTensors(sample, { [key]: null }),
  },
  {
    name: "trained-head-is-the-embedding",
    code: "TENSOR_REPEATED",
    alsoCodes: ["TENSORS_SWAPPED"],
    about: "the embedding in place of a head that was trained on its own",
    keepsShapes: true,
    places: (sample) => (isTied(sample) ? [] : keysLike(sample, /(?:^|\.)lm_head\.weight$/)),
    make: (sample, key) =>
      withTensors(sample, { [key]: { bytes: () => bytesOf(sample.source, embeddingOf(sample)!) } }),
  },
];
