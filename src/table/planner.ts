// Plans one conversion: where every target tensor comes from.
import type { Check, Target } from "./check.ts";
import type { Slot } from "./compile.ts";
import { isTolerable } from "./faults/fault.ts";
import { errorOf } from "./faults/problems.ts";
import { knownAs } from "./faults/unknown.ts";
import type { Dropped, Move, Piece, TablePlan } from "./move.ts";
import { refusalOf } from "./pass-through.ts";
import type { RefuseRule, Side } from "./rule.ts";
import { layoutOf } from "./terms.ts";

/** Throws the first fault; where faults are tolerated, the first that cannot be. */
export function planOf(check: Check): TablePlan {
  const { faults, options, spelling, order } = check;
  const tolerated = options.tolerate ? faults.filter(isTolerable) : [];
  const fault = options.tolerate ? faults.find((each) => !isTolerable(each)) : faults[0];
  if (fault !== undefined) throw errorOf(fault, faults);
  return {
    moves: movesOf(check),
    equalities: [...equalities(check)],
    dropped: [...dropped(check)],
    spelling,
    order: order === "" ? null : order,
    orderAt: [],
    form: "",
    critical: ofFound(check, criticalOf),
    plus: ofFound(check, (slot) => added(slot, check.side)),
    absent: absentParts(check),
    faults: tolerated,
  };
}

function* equalities(check: Check): Generator<TablePlan["equalities"][number]> {
  for (const [slot, key] of check.resolved.found)
    if (slot.kind === "tie") yield { alias: key, of: check.sourceKey(slot.of), reason: slot.rule.reason };
}

/** What some of the source's tensors have, by their keys. */
function ofFound<T>({ resolved }: Check, about: (slot: Slot) => T | null | undefined): Map<string, T> {
  const found = new Map<string, T>();
  for (const [slot, key] of resolved.found) {
    const it = about(slot) ?? null;
    if (it !== null) found.set(key, it);
  }
  return found;
}

function* dropped({ resolved, waived, compiled, side, from, to }: Check): Generator<Dropped> {
  for (const [slot, key] of resolved.found) {
    if (slot.kind !== "drop") continue;
    const { reason, recreate, equals = recreate, derived, help } = slot.rule;
    yield {
      ...{ key, reason },
      ...(equals === undefined ? {} : { equals }),
      ...(derived && { derived }),
      ...(help === undefined ? {} : { help }),
    };
  }
  for (const key of waived) {
    const refusal = refusalOf(compiled.refused, side, key);
    const why = refusal === undefined ? (knownAs(key, from, to) ?? "no rule for it") : `it ${refusal.reason}`;
    yield { key, reason: `waived: ${why}` };
  }
}

/** Parts that the config describes and the source does not have. */
export function absentParts({ compiled: { refused, ...compiled }, side, resolved }: Check): readonly string[] {
  const has = (rule: RefuseRule) =>
    rule.side === side && resolved.unknown.some((key) => refusalOf([rule], side, key) !== undefined);
  const present = new Set(refused.filter(has).map(({ tower }) => tower));
  const described = refused.flatMap(({ tower }) => tower ?? []);
  const optional = compiled[side].slots.flatMap((slot) =>
    slot.kind === "map" && slot.map.rule.announced ? [slot] : [],
  );
  const announced = optional.flatMap(({ map }) => map.rule.announced ?? []);
  for (const slot of optional) if (!resolved.isAbsent(slot)) present.add(slot.map.rule.announced);
  return [...new Set([...described, ...announced])].filter((tower) => !present.has(tower));
}

const criticalOf = (slot: Slot): string | null | undefined =>
  slot.kind === "map" ? slot.term.critical : slot.kind === "drop" ? slot.rule.critical : null;

function added(slot: Slot, from: Side): number | undefined {
  const amount = slot.kind === "map" ? slot.map.rule.plus : undefined;
  return amount === undefined || from === "native" ? amount : -amount;
}

function movesOf(check: Check): Move[] {
  const passed = [...check.resolved.passed].map(([source, canonical]): Move => {
    const { shape } = check.source.get(source)!;
    return { key: check.targetKey(canonical), shape, pieces: wholeTensor(source, shape), rule: "passThrough" };
  });
  return [...check.targets.map((target) => moveOf(check, target)), ...passed];
}

function moveOf(check: Check, target: Target): Move {
  const { key, rule } = target;
  if (!("slot" in target)) {
    return { key, shape: target.shape, pieces: [], fill: { value: target.value, dtype: "F32" }, rule };
  }
  const { slot } = target;
  const make = () => check.pieces.piecesOf(slot, (canonical) => check.sourceKey(canonical));
  const { shape } = layoutOf(slot.term, check.options.targetEncoding?.(slot.key) ?? "", check.targetOrder);
  return new LazyMove(key, shape, rule, make);
}

/** A move whose pieces are laid out when they are first asked for: a large model has tens of thousands. */
class LazyMove implements Move {
  private made: readonly Piece[] | undefined;

  constructor(
    readonly key: string,
    readonly shape: readonly number[],
    readonly rule: string,
    private readonly make: () => readonly Piece[],
  ) {}

  get pieces(): readonly Piece[] {
    this.made ??= this.make();
    return this.made;
  }
}

function wholeTensor(source: string, shape: readonly number[]): readonly Piece[] {
  const elements = shape.reduce((product, size) => product * size, 1);
  return [{ source, sourceOffset: 0, targetOffset: 0, sizes: [elements], sourceStrides: [1], targetStrides: [1] }];
}
