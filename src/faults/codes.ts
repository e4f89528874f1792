// What can be told of a tensor that differs, the most specific first. Public: they stand in reports as `cause.code`.

/** `about` says what stands in the tensor; the words of a report say it of the one at hand. */
export const TENSOR_CODES = [
  { code: "NON_FINITE_WEIGHTS", about: "NaN or infinite elements where the other side has numbers" },
  { code: "ZEROED", about: "zeros: all of it, or whole rows, columns, blocks, experts" },
  { code: "TENSORS_SWAPPED", about: "another tensor of the model, whose own place holds other values" },
  { code: "TENSOR_REPEATED", about: "another tensor of the model, which stands in its own place, too" },
  {
    code: "ROPE_PERMUTED",
    about: "rows in the order of the other rotary embedding: all heads, some, or a part of each",
  },
  { code: "HALVES_SWAPPED", about: "two halves exchanged along an axis: gate and up in one tensor" },
  { code: "HALVES_INTERLEAVED", about: "halves against interleaved along an axis: gate and up in one tensor" },
  { code: "PAIRS_SWAPPED", about: "neighbours exchanged along an axis: nibbles of MXFP4, interleaved gate and up" },
  { code: "FUSED_SPLIT", about: "rows of its sibling tensors: a fused one split, joined or grouped in another way" },
  { code: "FLIPPED", about: "an axis from its end to its beginning: a convolution's taps, BGR for RGB" },
  { code: "TRANSPOSED", about: "transposed, as a whole or slice by slice, or reshaped where it should be transposed" },
  {
    code: "AXES_PERMUTED",
    about: "axes, or parts of one, in another order: patch embeddings, position tables, mergers",
  },
  { code: "ROWS_REPEATED", about: "rows, heads, shards or experts of the reference twice, and others not at all" },
  { code: "ROWS_REORDERED", about: "rows, heads, shards or experts in another order along the first axes" },
  { code: "COLUMNS_REORDERED", about: "columns, heads or shards in another order along a later axis" },
  { code: "ROUNDED", about: "exactly the rounding of the other side to a narrower type" },
  { code: "TRUNCATED", about: "exactly the other side cut off, not rounded, to a narrower type" },
  { code: "LAST_PLACE", about: "the same but for a few units in the last place" },
  { code: "SIGN_FLIPPED", about: "the other sign" },
  { code: "OFFSET", about: "a constant more or less: norms stored less 1" },
  { code: "SCALED", about: "a factor: of the whole tensor, of each row, column or block" },
  { code: "LOG_EXP", about: "the exponential or the logarithm of the other side, or its negative" },
  { code: "STALE_WEIGHTS", about: "nearly the same everywhere: another training step, or noise" },
  { code: "WEIGHTS_DIFFER", about: "other values, in a way that nothing else here explains" },
] as const;

export type TensorCode = (typeof TENSOR_CODES)[number]["code"];
