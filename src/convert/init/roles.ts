// What a tensor begins with, by what it is for: so that logits are finite and tell models apart.
import type { ModelFacts } from "../../family/family.ts";

export type Role =
  | { readonly kind: "normal"; readonly mean: number; readonly deviation: number }
  | { readonly kind: "constant"; readonly value: number }
  /** The logarithm of a uniform number: decay rates of gated delta nets. */
  | { readonly kind: "log uniform"; readonly from: number; readonly to: number }
  /** What softplus makes a step of between these, uniform in its logarithm. */
  | { readonly kind: "time step"; readonly from: number; readonly to: number };

const normal = (mean: number, deviation: number): Role => ({ kind: "normal", mean, deviation });

const EMBEDDING = /(?:embed_tokens|pos(?:ition)?_emb\w*)(?:\.weight)?$/;
/** Into the residual stream: two a layer, so that all of them together keep its size. */
const RESIDUAL =
  /(?:\b(?:o_proj|out_proj|down_proj|wo|attn\.proj|(?:linear_)?fc2)|dense_4h_to_h|self_attn\.dense)(?:\.weight)?$/;
const STACKED = /\.experts\.\w+$/;

/** @param layers of the model */
export function roleOf(
  { key, shape }: { readonly key: string; readonly shape: readonly number[] },
  layers: number,
  { centredNorms }: Pick<ModelFacts, "centredNorms">,
): Role {
  if (/A_log$/.test(key)) return { kind: "log uniform", from: 1, to: 16 };
  if (/dt_bias$/.test(key)) return { kind: "time step", from: 1e-3, to: 0.1 };
  if (/act_fn\.beta$/.test(key)) return { kind: "constant", value: 0.5 };
  if (/act_fn\.eps$/.test(key)) return { kind: "constant", value: -1e-6 };
  if (/bias$/.test(key)) return normal(0, 0.02);
  if (/sinks$/.test(key)) return normal(0, 0.5);
  // By its width, so that logits of a tied head spread as those of another do, however small the model is.
  if (EMBEDDING.test(key)) return normal(0, 1 / Math.sqrt(shape.at(-1) || 1));
  if (shape.length < 2) {
    // Of vectors, only those of norms are weights.
    return key.endsWith(".weight") ? normal(centredNorms?.test(key) ? 0 : 1, 0.05) : normal(0, 0.1);
  }
  if (/norms?(?:\.\d+)?\.weight$/.test(key)) return normal(centredNorms?.test(key) ? 0 : 1, 0.05);
  const deviation = 1 / Math.sqrt(fanIn(key, shape));
  return normal(0, RESIDUAL.test(key) ? deviation / Math.sqrt(2 * Math.max(1, layers)) : deviation);
}

/** Inputs of one output. Stacks of experts lie in either order, [e, in, out] or [e, out, in]: their mean serves both. */
function fanIn(key: string, shape: readonly number[]): number {
  const inner = shape.slice(1);
  if (STACKED.test(key) && inner.length === 2) return Math.max(1, (inner[0]! + inner[1]!) / 2);
  return Math.max(
    1,
    inner.reduce((product, size) => product * size, 1),
  );
}
