// The op interface: records steps, checks shapes, computes nothing.
import type { Ops } from "../../graph.ts";
import type { GpuNode } from "../node.ts";
import type { Recording } from "../recording.ts";
import { attentions } from "./attention.ts";
import { linearMaps } from "./linear.ts";
import { lookups } from "./lookup.ts";
import { mixtures } from "./mixture.ts";
import { norms } from "./norm.ts";
import { pointwise } from "./pointwise.ts";
import { rotations } from "./rope.ts";
import { sequential } from "./sequence.ts";
import { moving } from "./shape.ts";

export const gpuOps = (recording: Recording): Ops<GpuNode> => ({
  ...lookups(recording),
  ...norms(recording),
  ...linearMaps(recording),
  ...moving(recording),
  ...rotations(recording),
  ...attentions(recording),
  ...pointwise(recording),
  ...sequential(recording),
  ...mixtures(recording),
});
