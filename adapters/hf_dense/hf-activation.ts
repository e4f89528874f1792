// Activations of transformers' dense decoders.
//   huggingface/transformers@v5.23.0:src/transformers/activations.py
import type { Node, Ops, Weights } from "../../numerics/graph.ts";
import type { Activation } from "./config.ts";

/** Larger than any activation, and finite in f32. */
const LARGEST = 1e30;

/** @param module of an activation that has weights */
export function activate<N extends Node>(op: Ops<N>, weight: Weights<N>, f: Activation, x: N, module: string): N {
  switch (f) {
    case "relu":
      return op.clamp(x, 0, LARGEST);
    case "relu2": {
      const positive = op.clamp(x, 0, LARGEST);
      return op.mul(positive, positive);
    }
    case "xielu":
      return xielu(op, weight, x, module);
    default:
      return op.map(f, x);
  }
}

/**
 * XIELUActivation (arXiv:2411.13010): αₚ x² + β x for x > 0, else αₙ (exp(min(x, ε)) − 1 − x) + β x, with
 * αₚ = softplus(alpha_p), αₙ = β + softplus(alpha_n).
 */
function xielu<N extends Node>(op: Ops<N>, weight: Weights<N>, x_TF: N, module: string): N {
  const scalar = (name: string) => op.reshape(weight(`${module}.${name}`), [1]);
  const beta = scalar("beta");
  const alphaP = op.map("softplus", scalar("alpha_p"));
  const alphaN = op.add(beta, op.map("softplus", scalar("alpha_n")));
  const minus = (a: N, b: N) => op.add(a, op.affine(b, -1));
  const positive = op.clamp(x_TF, 0, LARGEST);
  const negative = op.clamp(x_TF, -LARGEST, 0);
  // min(x, ε) = x − max(x − ε, 0); one where x > 0 undoes what it leaves there.
  const capped = minus(negative, op.clamp(minus(negative, scalar("eps")), 0, LARGEST));
  const isPositive = op.clamp(op.affine(x_TF, LARGEST), 0, 1);
  const bend = minus(op.affine(op.map("exp", capped), 1, -1), negative);
  const kept = op.mul(bend, op.affine(isPositive, -1, 1));
  const curved = op.add(op.mul(op.mul(positive, positive), alphaP), op.mul(kept, alphaN));
  return op.add(curved, op.mul(x_TF, beta));
}
