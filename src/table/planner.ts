// Plans one conversion: checks the tensors at hand against the table, then says where every target tensor comes from.
import type { InputError } from "../base/errors.ts";
import type { Compiled, CompiledSide, DropSlot, MapSlot, Slot, TieSlot } from "./compile.ts";
import type { Dropped, Move, Piece, TablePlan } from "./move.ts";
import { checkedOrder, orderOf } from "./order.ts";
import { refusalOf } from "./pass-through.ts";
import { PieceMaker } from "./pieces.ts";
import {
  keyCollision,
  type Mismatch,
  missingTensors,
  missingTower,
  mixedDtypes,
  shapeMismatch,
  twoSpellings,
  unknownTensors,
} from "./problems.ts";
import type { Direction, PlanOptions, Source } from "./request.ts";
import { type Resolved, resolve } from "./resolve.ts";
import type { RefuseRule, Side } from "./rule.ts";
import { layoutOf } from "./terms.ts";

export class Planner {
  private readonly side: Side;
  private readonly from: CompiledSide;
  private readonly to: CompiledSide;
  private readonly unruled: Pick<Compiled, "passThrough" | "refused">;
  private readonly resolved: Resolved;
  private readonly pieces: PieceMaker;
  /** Canonical key → key in the source, where they differ. */
  private readonly spelling = new Map<string, string>();
  /** Of the source's dims and of the target's; "" is the canonical order. */
  private readonly order: string;
  private readonly targetOrder: string;

  constructor(
    compiled: Compiled,
    direction: Direction,
    private readonly source: Source,
    private readonly options: PlanOptions,
  ) {
    this.unruled = compiled;
    const [from, to] = direction === "toHf" ? (["native", "hf"] as const) : (["hf", "native"] as const);
    this.side = from;
    this.from = compiled[from];
    this.to = compiled[to];
    this.resolved = resolve(compiled, from, source);
    for (const [slot, key] of this.resolved.found) if (slot.key !== key) this.spelling.set(slot.key, key);
    const encodingOf = (key: string) => source.get(this.spelling.get(key) ?? key)?.encoding;
    this.order = orderOf(this.resolved.found, source);
    this.targetOrder = checkedOrder(this.to, options.order);
    this.pieces = new PieceMaker(
      compiled.axes,
      from,
      { encodingOf, order: this.order },
      { encodingOf: options.targetEncoding ?? (() => undefined), order: this.targetOrder },
    );
  }

  plan(): TablePlan {
    const waived = this.check();
    return {
      moves: this.moves(),
      equalities: [...this.resolved.found].flatMap(([slot, key]) =>
        slot.kind === "tie" ? [{ alias: key, of: this.sourceKey(slot.of), reason: slot.rule.reason }] : [],
      ),
      dropped: [...this.dropped(), ...waived.map((key) => ({ key, reason: this.waivedReason(key) }))],
      spelling: this.spelling,
      order: this.order === "" ? null : this.order,
      critical: this.critical(),
      absent: this.absent(),
    };
  }

  private waivedReason(key: string): string {
    const refusal = refusalOf(this.unruled.refused, this.side, key);
    return refusal === undefined ? "waived: no rule for it" : `waived: it ${refusal.reason}`;
  }

  private absent(): readonly string[] {
    const has = (rule: RefuseRule) =>
      rule.side === this.side && this.resolved.unknown.some((key) => refusalOf([rule], this.side, key) !== undefined);
    const present = new Set(this.unruled.refused.filter(has).map(({ tower }) => tower));
    const described = this.unruled.refused.flatMap(({ tower }) => tower ?? []);
    return [...new Set(described)].filter((tower) => !present.has(tower));
  }

  private critical(): ReadonlyMap<string, string> {
    const reasons = new Map<string, string>();
    for (const [slot, key] of this.resolved.found) {
      const reason = criticalOf(slot);
      if (reason !== null) reasons.set(key, reason);
    }
    return reasons;
  }

  private sourceKey(canonical: string): string {
    return this.spelling.get(canonical) ?? canonical;
  }

  /** Throws for whatever is amiss; returns the keys without a rule that the user lets go. */
  private check(): readonly string[] {
    const { missing, twice } = this.resolved;
    const waived = this.resolved.unknown.filter((key) => this.options.allowDrop?.(key));
    const unknown = this.resolved.unknown.filter((key) => !waived.includes(key));
    if (twice.length > 0) throw twoSpellings(twice);
    if (missing.length > 0) throw this.missingTower() ?? missingTensors(missing, unknown, this.from);
    if (unknown.length > 0) throw unknownTensors(unknown, this.side, this.from, this.to, this.unruled);
    const mismatches = [...this.resolved.found].flatMap(([slot, key]) => this.mismatch(slot, key) ?? []);
    if (mismatches.length > 0) throw shapeMismatch(mismatches);
    return waived;
  }

  /** A part of the model that the source lacks as a whole. */
  private missingTower(): InputError | undefined {
    const found = new Set([...this.resolved.found.keys()].map(towerOf));
    const lost = this.resolved.missing.find((slot) => slot.map.rule.tower !== undefined && !found.has(towerOf(slot)));
    if (lost === undefined) return undefined;
    const of = (slot: MapSlot) => towerOf(slot) === towerOf(lost);
    return missingTower(`${towerOf(lost)}`, this.resolved.missing.filter(of), this.resolved.missing.length);
  }

  private mismatch(slot: Slot, key: string): Mismatch | undefined {
    const { shape: found, encoding = "" } = this.source.get(key)!;
    const { shape: expected, words } = this.expected(slot, encoding);
    const fits = expected.length === found.length && expected.every((size, i) => size === null || size === found[i]);
    return fits ? undefined : { key, expected, words, found };
  }

  private expected(slot: Slot, encoding: string): { shape: readonly (number | null)[]; words: string } {
    if (slot.kind === "map") return layoutOf(slot.term, encoding, this.order);
    if (slot.kind === "drop") return { shape: slot.shape, words: `[${slot.rule.dims}]` };
    return this.expected(this.from.byKey.get(slot.of)!, encoding);
  }

  private *dropped(): Generator<Dropped> {
    for (const [slot, key] of this.resolved.found) {
      if (slot.kind !== "drop") continue;
      const { reason, recreate, derived } = slot.rule;
      yield { key, reason, ...(recreate === undefined ? {} : { equals: recreate }), ...(derived && { derived }) };
    }
  }

  private moves(): Move[] {
    const moves = this.to.slots.flatMap((slot) => this.move(slot) ?? []);
    const byKey = new Map(moves.map((move) => [move.key, move]));
    for (const [source, canonical] of this.resolved.passed) {
      const key = this.targetKey(canonical);
      const other = byKey.get(key);
      if (other !== undefined) throw keyCollision(key, [other.pieces[0]?.source ?? other.rule, source]);
      const { shape } = this.source.get(source)!;
      const move = { key, shape, pieces: wholeTensor(source, shape), rule: "passThrough" };
      byKey.set(key, move);
      moves.push(move);
    }
    return moves;
  }

  private targetKey(canonical: string): string {
    return this.options.spelling?.get(canonical) ?? canonical;
  }

  private move(slot: Slot): Move | undefined {
    switch (slot.kind) {
      case "map":
        return this.resolved.isAbsent(slot) ? undefined : this.mapped(slot, slot.key, slot.map.rule.op);
      case "tie":
        return this.alias(slot);
      case "drop":
        return this.recreated(slot);
      default:
        throw slot satisfies never;
    }
  }

  private mapped(slot: MapSlot, canonical: string, rule: string): Move {
    this.checkDtypes(slot);
    const make = () => this.pieces.piecesOf(slot).map((piece) => ({ ...piece, source: this.sourceKey(piece.source) }));
    const { shape } = layoutOf(slot.term, this.options.targetEncoding?.(slot.key) ?? "", this.targetOrder);
    return new LazyMove(this.targetKey(canonical), shape, rule, make);
  }

  private checkDtypes(slot: MapSlot): void {
    if (this.options.mixedDtypes) return;
    let first: readonly [string, string] | undefined;
    for (const canonical of this.pieces.mergedKeysOf(slot)) {
      const key = this.sourceKey(canonical);
      const { dtype } = this.source.get(key)!;
      first ??= [key, dtype];
      if (first[1] !== dtype) throw mixedDtypes(slot.key, first, [key, dtype]);
    }
  }

  private alias(slot: TieSlot): Move | undefined {
    if (!(this.options.aliases?.get(slot.key) ?? slot.rule.materialise)) return undefined;
    const of = this.to.byKey.get(slot.of);
    if (of?.kind !== "map" || this.resolved.isAbsent(of)) return undefined;
    return this.mapped(of, slot.key, "tie");
  }

  private recreated(slot: DropSlot): Move | undefined {
    const { recreate } = slot.rule;
    if (recreate === undefined || this.options.buffers === false) return undefined;
    const shape = slot.shape.map((size) => size!);
    return { key: this.targetKey(slot.key), shape, pieces: [], fill: { value: recreate, dtype: "F32" }, rule: "drop" };
  }
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

const towerOf = (slot: Slot): string | undefined => (slot.kind === "map" ? slot.map.rule.tower : undefined);

function criticalOf(slot: Slot): string | null {
  if (slot.kind === "map") return slot.term.critical;
  return slot.kind === "drop" ? (slot.rule.critical ?? null) : null;
}

function wholeTensor(source: string, shape: readonly number[]): readonly Piece[] {
  const elements = shape.reduce((product, size) => product * size, 1);
  return [{ source, sourceOffset: 0, targetOffset: 0, sizes: [elements], sourceStrides: [1], targetStrides: [1] }];
}
