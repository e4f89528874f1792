// The forward pass that hypotheses are tried on. They edit tensors as Hugging Face has them. So its graph runs, unless the golden
// has what a trainer is known to compute otherwise: then the native graph does, on tensors mapped back.
import type { WeightSource } from "../../../numerics/backend.ts";
import type { Forward } from "../../../numerics/graph.ts";
import { bound, type Family, tableLayout } from "../../family/family.ts";
import { mapped, planned } from "../../views/mapping.ts";
import { virtualSource } from "../../views/produce.ts";
import { tableOf } from "../../views/tables.ts";
import type { TensorSource } from "../../views/tensor-source.ts";
import { type ParityModel, SideWeights } from "../side.ts";
import type { Candidate } from "./hypothesis.ts";
import type { Replaced } from "./screen.ts";

export interface TrialGraph {
  readonly weights: SideWeights;
  /** The model as Hugging Face has it. */
  readonly source: TensorSource;
  /** Whether it is the graph that the side was run by. */
  readonly isOwn: boolean;
  forward(family: Family): Forward;
  /** Weights of the graph that are other in a candidate. */
  replaced(candidate: Candidate): Replaced;
}

/** @param own the side as it was run */
export function hfGraph(own: SideWeights): TrialGraph {
  const { view } = own;
  const { family, layout } = view.model;
  const weights = layout.side === "hf" ? own : new SideWeights(asHfModel(own, view.source));
  return {
    weights,
    source: view.source,
    isOwn: layout.side === "hf",
    forward: (other) => other.hf.forward(),
    replaced: ({ source, edited }) => new Map([...edited].map((key) => [key, weightOf(source, key)])),
  };

  function asHfModel({ path }: SideWeights, source: TensorSource): ParityModel {
    const table = tableOf(tableLayout(family, family.hf), source.tensors);
    return { checkpoint: { path, format: "safetensors" }, family, layout: family.hf, table, source };
  }
}

export function nativeGraph(own: SideWeights): TrialGraph {
  const { family, layout, table } = own.view.model;
  const { source } = own.view;
  const way = [family.hf, layout] as const;
  const plan = planned(table, source, way, { mixedDtypes: true, buffers: false });
  const origins = [...mapped(source, way, plan).tensors].map(([key, { sources }]) => [key, sources] as const);
  return {
    weights: own,
    source,
    isOwn: true,
    forward: (other) => bound(other, layout).forward(),
    replaced({ source: other, edited }) {
      const made = virtualSource(mapped(other, way, plan));
      const changed = origins.filter(([, sources]) => sources.some((key) => edited.has(key)));
      return new Map(changed.map(([key]) => [key, weightOf(made, key)]));
    },
  };
}

function weightOf(source: TensorSource, key: string): WeightSource {
  const { dtype, shape } = source.tensors.get(key)!;
  return { key, dtype, shape, read: (begin, target) => source.read(key, begin, target) };
}
