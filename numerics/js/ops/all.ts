// The op interface of the backends in JavaScript: checks shapes, records kernels.
import type { Ops } from "../../graph.ts";
import type { Values } from "../memory.ts";
import type { JsNode } from "../node.ts";
import type { Recording } from "../recording.ts";
import { attentions } from "./attention.ts";
import { linearMaps } from "./linear.ts";
import { lookups } from "./lookup.ts";
import { mixture } from "./mixture.ts";
import { norms } from "./norm.ts";
import { pointwise } from "./pointwise.ts";
import { rotations } from "./rope.ts";
import { sequential } from "./sequence.ts";
import { moving } from "./shape.ts";

export const jsOps = <V extends Values>(backend: Recording<V>): Ops<JsNode<V>> => ({
  ...lookups(backend),
  ...norms(backend),
  ...linearMaps(backend),
  ...moving(backend),
  ...rotations(backend),
  ...attentions(backend),
  ...pointwise(backend),
  ...sequential(backend),
  mixture: (x, routing, expert) => mixture(backend, x, routing, expert),
});
