// Ways to make a fault, by their names.
import type { Fault } from "../../src/faults/fault.ts";
import type { Kind } from "../../src/faults/kinds/kind.ts";
import { KINDS, kindNamed } from "../../src/faults/kinds/registry.ts";

export function kindOf(name: string): Kind {
  const kind = kindNamed(name);
  if (kind === null) throw new Error(`no kind ${name}`);
  return kind;
}

/** All ways to make what this fault names. */
export const kindsOf = ({ code }: Pick<Fault, "code">): readonly Kind[] => KINDS.filter((kind) => kind.code === code);
