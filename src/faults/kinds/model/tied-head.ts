// Output heads that are, or are not, the embedding.
import { bitFlipped, bytesOf } from "../../edit.ts";
import type { Sample } from "../../fault.ts";
import { type Kind, withTensors } from "../kind.ts";
import { keysLike, textConfig } from "../names.ts";

/** Key of the embedding of tokens. */
export const embeddingOf = (sample: Sample): string | undefined => keysLike(sample, /(?:^|\.)embed_tokens\.weight$/)[0];

/** Where transformers looks for the head of a model with this embedding. */
const headOf = (embedding: string): string =>
  embedding.startsWith("language_model.") ? "language_model.lm_head.weight" : "lm_head.weight";

const isTied = ({ config }: Sample): boolean =>
  (config.tie_word_embeddings ?? textConfig(config).tie_word_embeddings) === true;

const stale: Kind = {
  name: "tied-head-stale",
  code: "STALE_TIED_HEAD",
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
};

export const TIED_HEAD: readonly Kind[] = [stale];
