import type { Dtype } from "../base/dtype.ts";
import { UsageError } from "../base/errors.ts";
import { isFloat } from "../base/floats.ts";
import { globMatcher } from "../base/globs.ts";
import { rounds } from "./cast.ts";

const NAMES: Readonly<Record<string, Dtype | null>> = { keep: null, f32: "F32", bf16: "BF16", f16: "F16" };

interface DtypeRule {
  readonly text: string;
  readonly matches: (key: string) => boolean;
  /** Null keeps what the source has. */
  readonly dtype: Dtype | null;
}

/** What `--dtype` asks for. Only floating-point weights are cast; integers and F8 payloads stay as they are. */
export interface DtypeChoice {
  /**
   * Element type of a target tensor that has `dtype` at its source; `keys` are its names on both sides. A critical one is
   * not rounded unless a glob names it.
   */
  (keys: readonly string[], dtype: Dtype, critical?: boolean): Dtype;
  /** Globs that no key matched so far: each is a mistake of the caller's. */
  unmatched(): readonly string[];
}

/**
 * Reads `keep|f32|bf16|f16` (for all) and `GLOB=TYPE` (for some; the last that matches wins, and any of them wins over
 * the type for all). Throws UsageError.
 */
export function dtypeChoice(specs: readonly string[]): DtypeChoice {
  const rules: DtypeRule[] = [];
  let all: Dtype | null | undefined;
  for (const spec of specs) {
    const cut = spec.lastIndexOf("=");
    const dtype = dtypeNamed(cut < 0 ? spec : spec.slice(cut + 1), spec);
    if (cut >= 0) rules.push({ text: spec, matches: globMatcher(spec.slice(0, cut)), dtype });
    else if (all === undefined) all = dtype;
    else {
      throw new UsageError("OPTION_REPEATED", "--dtype is given twice for all tensors", {
        found: specs.join(", "),
        help: "give one type for all tensors, and GLOB=TYPE for single ones",
      });
    }
  }
  const seen = new Set<DtypeRule>();
  const choose = (keys: readonly string[], dtype: Dtype, critical = false): Dtype => {
    let chosen = critical && rounds(dtype, all ?? dtype) ? null : (all ?? null);
    for (const rule of rules) {
      if (!keys.some(rule.matches)) continue;
      seen.add(rule);
      chosen = rule.dtype;
    }
    return chosen !== null && isFloat(dtype) ? chosen : dtype;
  };
  return Object.assign(choose, { unmatched: () => rules.filter((rule) => !seen.has(rule)).map(({ text }) => text) });
}

function dtypeNamed(name: string, spec: string): Dtype | null {
  const dtype = Object.hasOwn(NAMES, name.toLowerCase()) ? NAMES[name.toLowerCase()] : undefined;
  if (dtype !== undefined) return dtype;
  throw new UsageError("DTYPE_UNKNOWN", `--dtype ${spec}: "${name}" is no element type that weights can be cast to`, {
    expected: Object.keys(NAMES).join(", "),
    found: name,
    help: "write --dtype bf16 for all weights, or --dtype 'lm_head.weight=f32' for single ones",
  });
}
