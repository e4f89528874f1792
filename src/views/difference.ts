import type { Dtype } from "../base/dtype.ts";
import type { TolerableFault } from "../table/faults/fault.ts";
import { bySwitch, errorOf } from "../table/faults/problems.ts";
import type { ValueFault } from "./checks.ts";
import type { Mapping } from "./mapping.ts";

/** One way in which two checkpoints, or a checkpoint and what it should be, differ. */
export interface Difference {
  readonly key: string;
  readonly kind:
    | "missing"
    | "extra"
    | "shape"
    | "dtype"
    | "encoding"
    | "values"
    | "tie"
    | "dropped"
    | "nan"
    | "infinite"
    | "zero"
    | "constant"
    | "subnormal"
    | "implausible"
    | "untouched"
    | "repeated"
    | "padding"
    | "config"
    | "file"
    | "unloadable"
    | "id";
  readonly detail: string;
}

/** A part that files may lack as a whole. */
export const absentPart = (part: string): string =>
  `the ${part} that the config describes is absent as a whole: these files are the rest of the model alone`;

type Differences = readonly Difference[];

/** What is wrong with the source of a mapping that tolerates it. Tensors of nobody come last, in the source's order. */
export function sourceDifferences({ source, faults = [] }: Mapping): Differences {
  const [first] = source.tensors.values();
  const unknown = new Map(faults.flatMap((fault) => (fault.code === "UNKNOWN_TENSOR" ? [[fault.key, fault]] : [])));
  const extra = [...source.tensors.keys()].flatMap((key) => unknown.get(key) ?? []);
  return [
    ...faults.flatMap((fault) => ofTable(fault, faults, first?.dtype ?? "F32")),
    ...extra.map(
      (fault) =>
        ({
          key: fault.key,
          kind: "extra",
          detail: `no rule of the family knows it${bySwitch(fault, [fault])}`,
        }) as const,
    ),
  ];
}

/** @param dtype what a missing tensor is taken to have had */
function ofTable(fault: TolerableFault, all: readonly TolerableFault[], dtype: Dtype): Differences {
  const { key } = fault;
  switch (fault.code) {
    case "TWO_SPELLINGS":
      return [{ key, kind: "extra", detail: errorOf(fault, [fault]).message }];
    case "MISSING_TOWER":
      return [{ key, kind: "missing", detail: errorOf(fault, all.slice(all.indexOf(fault))).message }];
    case "MISSING_TENSOR": {
      const where = fault.shape === null ? "at every index" : `[${fault.shape.join(", ")}]`;
      return [{ key, kind: "missing", detail: `expected ${dtype} ${where}${bySwitch(fault, [fault])}` }];
    }
    case "SHAPE_MISMATCH":
      return [{ key, kind: "shape", detail: `expected ${fault.expected}, found ${fault.found}` }];
    case "WEIGHT_NOT_FLOAT":
      return [{ key, kind: "dtype", detail: `${fault.found}: a weight is ${fault.expected}` }];
    case "UNKNOWN_TENSOR":
      return [];
    default:
      throw fault satisfies never;
  }
}

export const valueDifference = ({ code, key, message, found }: ValueFault): Difference => ({
  key,
  kind: code === "TIE_BROKEN" ? "tie" : "dropped",
  detail: `${message}: ${found}`,
});
