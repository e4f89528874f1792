// Ways to make a fault, by their names.
import type { Fault } from "../../src/faults/fault.ts";
import type { Kind } from "../../src/faults/kinds/kind.ts";
import { KINDS, kindNamed } from "../../src/faults/kinds/registry.ts";

export function kindOf(name: string): Kind {
  const kind = kindNamed(name);
  if (kind === null) throw new Error(`no kind ${name}`);
  return kind;
}

/** The plainest way to make what a fault names: it has places nearly everywhere. */
const PLAIN: Readonly<Record<string, string>> = {
  ROPE_PERMUTED: "rope-k-not-permuted",
  ROWS_REORDERED: "rows-sorted-as-text",
  TENSORS_SWAPPED: "tensors-swapped",
  TRANSPOSED: "square-transposed",
  ROUNDED: "rounded-bf16",
  SCALED: "scale-not-applied",
  OFFSET: "norm-minus-one",
  CONFIG_DIFFERS: "rope-theta-default",
};

/** One way to make what this fault names, or none. */
export function kindsOf({ code }: Pick<Fault, "code">): readonly Kind[] {
  const plain = PLAIN[code];
  return plain === undefined ? KINDS.filter((kind) => kind.code === code).slice(0, 1) : [kindOf(plain)];
}
