// What a report says of a conversion before it has run.
import { elementCount } from "../../base/dtype.ts";
import { commitOf } from "../../formats/io/folder.ts";
import type { ConversionPlan } from "../plan.ts";
import type { Report } from "./about.ts";

export function reportOf(plan: ConversionPlan): Report {
  const { source, target, mapping, mappings, config } = plan;
  return {
    family: plan.family,
    from: { path: source.path, ...commitOf(source), layout: plan.from.name, format: source.format },
    to: { path: target.path, layout: plan.to.name, format: target.format },
    tensors: mapping.tensors.size,
    sourceTensors: mappings[0]!.source.tensors.size,
    bytes: [...mapping.tensors.values()].reduce((sum, { info }) => sum + info.byteLength, 0),
    ties: mappings.flatMap(({ equalities }) => equalities.map(({ alias, of }) => ({ alias, of }))),
    dropped: plan.dropped,
    waived: plan.waived,
    kept: plan.kept,
    leftBehind: plan.leftBehind,
    notes: plan.notes,
    casts: plan.casts.map((cast) => ({
      ...cast,
      elements: elementCount(mapping.tensors.get(cast.key)?.info.shape ?? []),
    })),
    merged: source.merged === undefined ? null : { adapters: source.merged.adapters, tensors: source.merged.tensors },
    encoding: plan.encoding?.name ?? null,
    config: config && { name: config.name, text: config.text, mathematics: config.mathematics() },
  };
}
