import type { Routing } from "../../graph.ts";
import { expertShape, mixtureShape } from "../../ops/mixture.ts";
import { chooseExperts, type Share, sharesOf } from "../../routing.ts";
import type { Values } from "../memory.ts";
import type { JsNode } from "../node.ts";
import type { Recording } from "../recording.ts";

/** Experts one after another, each on the rows that chose it: weights of one expert are read at a time. */
export function mixture<V extends Values>(
  backend: Recording<V>,
  x: JsNode<V>,
  routing: Routing<JsNode<V>>,
  expert: (x_nD: JsNode<V>, e: number) => JsNode<V>,
): JsNode<V> {
  const { logits_TE, bias_E, weighs } = routing;
  const D = x.shape[1]!;
  return backend.record(mixtureShape(x, routing), bias_E ? [x, logits_TE, bias_E] : [x, logits_TE], async (out) => {
    const choice = chooseExperts(routing, backend.values(logits_TE), bias_E ? backend.values(bias_E) : null);
    out.fill(0);
    for (const share of sharesOf(choice)) {
      const given = await backend.nested(() => {
        const taken = backend.record([share.tokens.length, D], [], (rows) => {
          takeRows(backend.values(x), share, D, weighs === "input", rows);
        });
        const y = expert(taken, share.expert);
        expertShape(taken, y);
        return y;
      });
      addRows(backend.values(given), share, D, weighs === "output", out);
      backend.free(given);
    }
  });
}

function takeRows(x: Values, { tokens, weights }: Share, D: number, weighed: boolean, out: Values): void {
  for (const [i, token] of tokens.entries()) {
    const weight = weighed ? weights[i]! : 1;
    for (let d = 0; d < D; d++) out[i * D + d] = x[token * D + d]! * weight;
  }
}

function addRows(y: Values, { tokens, weights }: Share, D: number, weighed: boolean, out: Values): void {
  for (const [i, token] of tokens.entries()) {
    const weight = weighed ? weights[i]! : 1;
    for (let d = 0; d < D; d++) out[token * D + d]! += y[i * D + d]! * weight;
  }
}
