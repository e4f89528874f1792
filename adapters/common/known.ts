// Differences between trainers and transformers that families share by code, with what was measured of them in models of 2
// or 3 layers.
import type { KnownCode } from "../../src/family/known.ts";

/** As in `KnownCode`; of those without `smallKlNats` each makes another model. */
const MEASURED = {
  ATTENTION_TEMPERATURE: { measured: "0.03" },
  CHUNKED_LAYERS: { measured: "not measured" },
  GROUP_SCORES: { measured: "not measured" },
  LOGITS_AFTER_HEAD: { measured: "0.08 to 4" },
  MLA_NORM_EPS: { measured: "3e-11 to 2e-10 at eps 1e-5", smallKlNats: 1e-8 },
  MTP_BEFORE_NORM: { measured: "none: it moves no logit of the model", smallKlNats: 0 },
  NOPE_LAYERS: { measured: "1.95" },
  NORM_EPS: { measured: "3e-3 to 0.15 at 1e-5" },
  OBLONG_POSITION_TABLE: { measured: "0.3 to 0.5" },
  QK_NORM: { measured: "0.62" },
  ROUTE_NORM: { measured: "0.1 to 1.4" },
  SLIDING_WINDOW: { measured: "0.1 to 2" },
  SWIGLU_ALPHA: { measured: "not measured" },
  VISION_MERGER_GELU: { measured: "5e-9 to 3e-7, 6e-6 where an undecided router turned over", smallKlNats: 1e-5 },
  YARN_ATTENTION_FACTOR: { measured: "0.05" },
  YARN_MSCALE: { measured: "0.98" },
  YARN_TRUNCATE: { measured: "0.09 to 0.15" },
} as const satisfies Readonly<Record<string, Omit<KnownCode, "code">>>;

export const known = (...codes: readonly (keyof typeof MEASURED)[]): KnownCode[] =>
  codes.map((code) => ({ code, ...MEASURED[code] }));
