// Finds the order of dims that a checkpoint was written in, where its tensors can have several.
import { InputError } from "../base/errors.ts";
import type { CompiledSide, MapSlot, Slot } from "./compile.ts";
import type { AmbiguousOrder } from "./faults/fault.ts";
import type { Source } from "./request.ts";
import { type CompiledTerm, layoutOf } from "./terms.ts";

export interface SourceOrder {
  /** "" is the canonical one. */
  readonly name: string;
  /** Set where several orders fit. */
  readonly fault: AmbiguousOrder | null;
}

/**
 * The one order whose dims have the shapes of all tensors that are there. Where none fits, the order that most tensors
 * have, so that the others are reported.
 */
export function orderOf(found: ReadonlyMap<Slot, string>, source: Source): SourceOrder {
  const tensors: { readonly term: CompiledTerm; readonly key: string }[] = [];
  for (const [slot, key] of found) if (hasOrders(slot)) tensors.push({ term: slot.term, key });
  const [first] = tensors;
  if (first === undefined) return { name: "", fault: null };
  const names = ["", ...new Set(tensors.flatMap(({ term }) => [...term.orders.keys()]))];
  const orders = names.map((name) => {
    const misfits = tensors.filter(({ term, key }) => !fits(term, name, source, key)).length;
    return { name, misfits };
  });
  const fewest = Math.min(...orders.map(({ misfits }) => misfits));
  const [best, ...others] = orders.filter(({ misfits }) => misfits === fewest);
  const isAmbiguous = fewest === 0 && others.length > 0;
  return { name: best!.name, fault: isAmbiguous ? ambiguousOrder(first.key, source, names) : null };
}

/** The order to write. Throws InputError UNKNOWN_ORDER where no tensor of the side declares it. */
export function checkedOrder(side: CompiledSide, order = ""): string {
  if (order === "" || side.slots.some((slot) => hasOrders(slot) && slot.term.orders.has(order))) return order;
  throw new InputError("UNKNOWN_ORDER", `no tensor of this model is written in the order "${order}"`, {
    found: order,
    help: "restore the record from the conversion that wrote it, or remove it to convert by the defaults",
  });
}

const hasOrders = (slot: Slot): slot is MapSlot => slot.kind === "map" && slot.term.orders.size > 0;

function fits(term: CompiledTerm, order: string, source: Source, key: string): boolean {
  const { shape, encoding } = source.get(key)!;
  const expected = layoutOf(term, encoding ?? "", order).shape;
  return expected.length === shape.length && expected.every((size, i) => size === shape[i]);
}

function ambiguousOrder(key: string, source: Source, names: readonly string[]): AmbiguousOrder {
  const orders = names.map((name) => name || "the usual one").join(", ");
  return {
    code: "AMBIGUOUS_ORDER",
    key,
    expected: `one of ${orders}`,
    found: orders,
    shape: source.get(key)!.shape,
    help: () =>
      "nothing in the checkpoint tells which it was written in: write it again with a tool whose order is known",
  };
}
