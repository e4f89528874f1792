// The tensors of a target with the state of the trainer among them.
import { UsageError } from "../../base/errors.ts";
import type { Target } from "../../output/target.ts";
import type { Mapping } from "../../views/mapping.ts";
import type { Route } from "../route.ts";

/** Steps of a route, with those of what goes along. */
export const stepsWith = ({ mappings, carried }: Route, last: Mapping): readonly Mapping[] =>
  carried === null ? mappings : [...mappings.slice(0, -1), ...carried.steps, last];

/** The route's own mapping where no state goes along. Throws UsageError OPTIMIZER_FORMAT. */
export function withCarried({ mapping, carried }: Route, { format }: Target): Mapping {
  if (carried === null) return mapping;
  if (format !== "dcp")
    throw new UsageError(
      "OPTIMIZER_FORMAT",
      `--optimizer: the state of a trainer is written as DCP, and this target is ${format}`,
      {
        expected: "a directory, as DCP",
        found: format,
        help: "give a directory without --format, or leave out --optimizer",
      },
    );
  const own = mapping.source;
  return {
    ...mapping,
    tensors: new Map([...mapping.tensors, ...carried.tensors]),
    paths: new Map([...(mapping.paths ?? []), ...carried.paths]),
    source: {
      tensors: new Map([...own.tensors, ...carried.source.tensors]),
      read: (key, begin, target) => (own.tensors.has(key) ? own : carried.source).read(key, begin, target),
    },
  };
}
