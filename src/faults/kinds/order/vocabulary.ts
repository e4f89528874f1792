// Rows of the embedding and of the head: off by one, exchanged, padded for tensor parallelism.
import { bytesOf } from "../../edit.ts";
import type { Sample } from "../../fault.ts";
import { along, exchanged, rolled } from "../axes.ts";
import { type Kind, tensorKind, withTensors } from "../kind.ts";
import { keysLike } from "../names.ts";

const rowsOf = ({ source }: Sample, key: string): number => source.tensors.get(key)!.shape[0]!;

/** Vocabularies are padded to a multiple of this, times the number of ranks. */
const PADDED_TO = 64;

export const VOCABULARY: readonly Kind[] = [
  tensorKind({
    name: "embedding-rows-shifted",
    code: "ROWS_REORDERED",
    about: "rows of the embedding off by one: another token's vector for each",
    places: (sample) => keysLike(sample, /embed_tokens\.weight$/),
    bytes: (sample, key) => along(sample.source, key, { axis: 0 }, rolled(rowsOf(sample, key))),
  }),
  tensorKind({
    name: "head-rows-shifted",
    code: "ROWS_REORDERED",
    about: "rows of the head off by one: each logit is another token's",
    places: (sample) => keysLike(sample, /(?:^|\.)lm_head\.weight$/),
    bytes: (sample, key) => along(sample.source, key, { axis: 0 }, rolled(rowsOf(sample, key))),
  }),
  tensorKind({
    name: "head-rows-exchanged",
    code: "ROWS_REORDERED",
    about: "two tokens exchanged in the head alone",
    places: (sample) => keysLike(sample, /(?:^|\.)lm_head\.weight$/),
    bytes: (sample, key) => along(sample.source, key, { axis: 0 }, exchanged(11, 12)),
  }),
  {
    name: "vocabulary-padded",
    code: "SHAPE_MISMATCH",
    about: "rows of zeros behind the vocabulary, as tensor parallelism pads it (Megatron-Bridge#625, #1853)",
    keepsShapes: false,
    places: (sample) => keysLike(sample, /(?:embed_tokens|lm_head)\.weight$/),
    make(sample, key) {
      const info = sample.source.tensors.get(key)!;
      const [rows = 0, ...rest] = info.shape;
      const padded = Math.ceil((rows + 1) / PADDED_TO) * PADDED_TO;
      const byteLength = (info.byteLength / rows) * padded;
      const bytes = () => {
        const all = new Uint8Array(byteLength);
        all.set(bytesOf(sample.source, key));
        return all;
      };
      return withTensors(sample, { [key]: { bytes, info: { ...info, shape: [padded, ...rest], byteLength } } });
    },
  },
];
