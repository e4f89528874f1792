// Which tensor of a table each tensor of a checkpoint is.
import type { Compiled, CompiledSide, MapSlot, Slot } from "./compile.ts";
import { passThroughTarget } from "./pass-through.ts";
import type { Source } from "./request.ts";
import type { Side } from "./rule.ts";

export interface Resolved {
  /** Key in the source of every tensor that is there. */
  readonly found: ReadonlyMap<Slot, string>;
  /** Required tensors that are not there. */
  readonly missing: readonly MapSlot[];
  /** Keys without a rule. */
  readonly unknown: readonly string[];
  /** Target keys by source key, for keys that change only their name. */
  readonly passed: ReadonlyMap<string, string>;
  /** Tensors under two spellings at once: [first, second]. */
  readonly twice: readonly (readonly [string, string])[];
  /** Whether the tensors of an optional rule are there, at the indices of this tensor. */
  readonly isAbsent: (slot: MapSlot) => boolean;
}

export function resolve(compiled: Compiled, side: Side, source: Source): Resolved {
  const found = new Map<Slot, string>();
  const unknown: string[] = [];
  const passed = new Map<string, string>();
  const twice: [string, string][] = [];
  for (const key of source.keys()) {
    const slot = findSlot(compiled[side], key);
    const other = slot && found.get(slot);
    if (other !== undefined) twice.push([other, key]);
    else if (slot !== undefined) found.set(slot, key);
    else {
      const target = passThroughTarget(compiled.passThrough, side, key);
      if (target === undefined) unknown.push(key);
      else passed.set(key, target);
    }
  }
  takeAloneAliases(compiled[side], found);
  const present = new Set<object>();
  for (const slot of found.keys()) if (slot.kind === "map" && slot.map.rule.optional) present.add(slot.instance);
  const isAbsent = (slot: MapSlot) => slot.map.rule.optional && !present.has(slot.instance);
  const missing = compiled[side].slots.filter(
    (slot): slot is MapSlot => slot.kind === "map" && !found.has(slot) && !isAbsent(slot),
  );
  return { found, missing, unknown, passed, twice, isAbsent };
}

/**
 * A tensor that files have under the name of its alias alone: of two names for one tensor, safetensors' `save_model` keeps
 * the first by the alphabet.
 */
function takeAloneAliases(side: CompiledSide, found: Map<Slot, string>): void {
  for (const [slot, key] of found) {
    const of = slot.kind === "tie" && slot.single ? side.byKey.get(slot.of) : undefined;
    if (of === undefined || found.has(of)) continue;
    found.delete(slot);
    found.set(of, key);
  }
}

export function findSlot(side: CompiledSide, key: string): Slot | undefined {
  const slot = side.byKey.get(key);
  if (slot !== undefined) return slot;
  for (const prefix of side.prefixes) {
    const other = side.byKey.get(key.startsWith(prefix) ? key.slice(prefix.length) : prefix + key);
    if (other !== undefined) return other;
  }
  return undefined;
}
