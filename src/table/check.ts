// A source seen through a table: which tensor is which, what the target would have, and everything that is wrong with it.
import { isFloat } from "../base/floats.ts";
import type { Compiled, CompiledSide, DropSlot, MapSlot, Slot } from "./compile.ts";
import {
  type FieldSwitch,
  type KeyCollision,
  type MissingTensor,
  type MissingTower,
  type MixedDtypes,
  mixedDtypes,
  type ShapeMismatch,
  type TableFault,
  type UnknownTensor,
  type WeightNotFloat,
  weightNotFloat,
} from "./faults/fault.ts";
import { missingHelp } from "./faults/problems.ts";
import { unknownHelp } from "./faults/unknown.ts";
import { checkedOrder, orderOf } from "./order.ts";
import { exceptionOf, refusalOf, UNKNOWN_SIZE } from "./pass-through.ts";
import { PieceMaker } from "./pieces.ts";
import type { Direction, PlanOptions, Source } from "./request.ts";
import { type Resolved, resolve } from "./resolve.ts";
import type { Side } from "./rule.ts";
import { layoutOf } from "./terms.ts";

/** A tensor that the target gets by a rule. */
export type Target = MappedTarget | FilledTarget;
export interface MappedTarget {
  readonly key: string;
  /** The tensor of the table that it is; of an alias, the one it repeats. */
  readonly slot: MapSlot;
  readonly rule: string;
}
/** A buffer that the source lacks. */
export interface FilledTarget {
  readonly key: string;
  readonly shape: readonly number[];
  /** Of every element. */
  readonly value: number;
  readonly rule: string;
}

const WEIGHT = /(?:^|\.)weight$/;

export class Check {
  readonly side: Side;
  readonly from: CompiledSide;
  readonly to: CompiledSide;
  readonly resolved: Resolved;
  readonly pieces: PieceMaker;
  /** Canonical key → key in the source, where they differ. */
  readonly spelling = new Map<string, string>();
  /** Of the source's dims and of the target's; "" is the canonical order. */
  readonly order: string;
  readonly targetOrder: string;
  /** Keys without a rule that the user lets go, and the others. */
  readonly waived: readonly string[];
  private readonly unruled: readonly string[];
  /** In table order, those that pass through apart. */
  readonly targets: readonly Target[];
  /** Names that files are written with, and that may stand alone for a tensor, by its key; made when one is missing. */
  private aliases: Map<string, readonly string[]> | undefined;
  private switchFound: FieldSwitch | null | undefined;
  /** In the order of their weight: a plan throws the first. */
  readonly faults: readonly TableFault[];

  constructor(
    readonly compiled: Compiled,
    direction: Direction,
    readonly source: Source,
    readonly options: PlanOptions,
    /** Whether a key is known in another order than the one at hand. */
    private readonly isInOtherOrder: (key: string) => boolean = () => false,
  ) {
    const [from, to] = direction === "toHf" ? (["native", "hf"] as const) : (["hf", "native"] as const);
    this.side = from;
    this.from = compiled[from];
    this.to = compiled[to];
    this.resolved = resolve(compiled, from, source);
    for (const [slot, key] of this.resolved.found) if (slot.key !== key) this.spelling.set(slot.key, key);
    const order = orderOf(this.resolved.found, source);
    this.order = order.name;
    this.targetOrder = checkedOrder(this.to, options.order);
    this.pieces = new PieceMaker(
      compiled.axes,
      from,
      { encodingOf: (key) => source.get(this.sourceKey(key))?.encoding, order: this.order },
      { encodingOf: options.targetEncoding ?? (() => undefined), order: this.targetOrder },
    );
    const isWaived = (key: string) => options.allowDrop?.(key) === true;
    this.waived = this.resolved.unknown.filter(isWaived);
    this.unruled = this.resolved.unknown.filter((key) => !isWaived(key));
    this.targets = this.to.slots.flatMap((slot) => this.target(slot) ?? []);
    this.faults = [
      ...(order.fault === null ? [] : [order.fault]),
      ...this.notFloat(),
      ...this.twice(),
      ...this.missing(),
      ...this.unknown(),
      ...this.misshapen(),
      ...this.mixed(),
      ...this.collisions(),
    ];
  }

  /** Of all faults at once; looked for when an error asks for it. */
  private readonly switched = (): FieldSwitch | null => {
    if (this.switchFound === undefined) this.switchFound = this.options.switchOf?.(this.faults) ?? null;
    return this.switchFound;
  };

  private get switches() {
    return this.options.switchOf === undefined ? {} : { switched: this.switched };
  }

  /** The source's own text where it has the tensor: tens of thousands of keys are not kept twice. */
  sourceKey(canonical: string): string {
    const slot = this.from.byKey.get(canonical);
    return (slot && this.resolved.found.get(slot)) ?? canonical;
  }

  targetKey(canonical: string): string {
    return this.options.spelling?.get(canonical) ?? canonical;
  }

  private target(slot: Slot): Target | undefined {
    const { resolved, options } = this;
    const key = this.targetKey(slot.key);
    switch (slot.kind) {
      case "map":
        return resolved.isAbsent(slot) ? undefined : { key, slot, rule: slot.map.rule.op };
      case "tie": {
        if (!(options.aliases?.get(slot.key) ?? slot.rule.materialise)) return undefined;
        const of = this.to.byKey.get(slot.of);
        return of?.kind !== "map" || resolved.isAbsent(of) ? undefined : { key, slot: of, rule: "tie" };
      }
      case "drop":
        return options.buffers === false ? undefined : filled(slot, key);
      default:
        throw slot satisfies never;
    }
  }

  /** Buffers that a rule drops may be integers. Of what passes through, torch's modules call their weights `weight`. */
  private notFloat(): WeightNotFloat[] {
    const { found, passed } = this.resolved;
    const faults: WeightNotFloat[] = [];
    const look = (key: string): void => {
      const { dtype } = this.source.get(key)!;
      if (!isFloat(dtype)) faults.push(weightNotFloat(key, dtype));
    };
    for (const [{ kind }, key] of found) if (kind !== "drop") look(key);
    for (const key of passed.keys()) if (WEIGHT.test(key)) look(key);
    return faults;
  }

  private twice(): TableFault[] {
    const help = () => "leave one of them out of the checkpoint";
    return this.resolved.twice.map(([other, key]) => ({ code: "TWO_SPELLINGS", key, other, help }));
  }

  /** Parts that are missing as a whole, then single tensors. */
  private missing(): TableFault[] {
    const present = new Set<string | undefined>();
    for (const slot of this.resolved.found.keys()) present.add(towerOf(slot));
    const lost = new Map<string, MapSlot[]>();
    const single: MapSlot[] = [];
    for (const slot of this.resolved.missing) {
      const tower = towerOf(slot);
      if (tower === undefined || present.has(tower)) single.push(slot);
      else if (lost.get(tower)?.push(slot) === undefined) lost.set(tower, [slot]);
    }
    return [
      ...[...lost].map(([tower, slots]) => missingTower(tower, slots)),
      ...single.map((slot) => this.missingTensor(slot)),
    ];
  }

  private missingTensor(slot: MapSlot): MissingTensor {
    const { key } = slot;
    const spellings = [...slot.spellings, ...this.aloneNames(key)];
    const { shape, words } = layoutOf(slot.term, "");
    const isOpen = words === `[${UNKNOWN_SIZE}]`;
    const tower = towerOf(slot);
    return {
      code: "MISSING_TENSOR",
      key,
      expected: isOpen ? "it at every index" : `[${shape}] = ${words}`,
      found: "no such tensor",
      spellings,
      shape: isOpen ? null : shape,
      ...(tower === undefined ? {} : { tower }),
      help: () => missingHelp(key, this.unruled),
      ...this.switches,
    };
  }

  private aloneNames(key: string): readonly string[] {
    if (this.aliases === undefined) {
      this.aliases = new Map();
      for (const slot of this.from.slots) {
        if (slot.kind !== "tie" || !slot.single || !slot.rule.materialise) continue;
        this.aliases.set(slot.of, [...(this.aliases.get(slot.of) ?? []), slot.key, ...slot.spellings]);
      }
    }
    return this.aliases.get(key) ?? [];
  }

  /** One that a rule refuses comes first: of it there is more to say. */
  private unknown(): UnknownTensor[] {
    const faults = this.unruled.map((key) => this.unknownTensor(key));
    const told = faults.find(({ reason }) => reason !== undefined);
    return told === undefined ? faults : [told, ...faults.filter((fault) => fault !== told)];
  }

  private unknownTensor(key: string): UnknownTensor {
    const why = refusalOf(this.compiled.refused, this.side, key) ?? exceptionOf(this.compiled.passThrough, key);
    const about = { code: "UNKNOWN_TENSOR", key, found: key } as const;
    if (why !== undefined) {
      const { reason, help } = why;
      return { ...about, expected: "tensors that both sides have a place for", reason, help: () => help };
    }
    if (this.isInOtherOrder(key)) {
      const reason = "is of another form of tensors that are there, too";
      return { ...about, expected: "each tensor in one form", reason, help: () => "leave one of the forms out" };
    }
    const help = () => unknownHelp(key, this.from, this.to);
    return { ...about, expected: "tensors that the family's table knows", help, ...this.switches };
  }

  private misshapen(): ShapeMismatch[] {
    const faults: ShapeMismatch[] = [];
    for (const [slot, key] of this.resolved.found) {
      const fault = this.mismatch(slot, key);
      if (fault !== undefined) faults.push(fault);
    }
    return faults;
  }

  private mismatch(slot: Slot, key: string): ShapeMismatch | undefined {
    const { shape: found, encoding = "" } = this.source.get(key)!;
    const { shape, words } = this.expected(slot, encoding);
    if (shape.length === found.length && shape.every((size, i) => size === null || size === found[i])) return undefined;
    return {
      code: "SHAPE_MISMATCH",
      key,
      expected: `[${shape.map((size) => size ?? "?")}]`,
      found: `[${found}]`,
      words,
      help: () =>
        "the config's sizes and the tensor disagree: give the config that belongs to this checkpoint (--config), or repair the tensor",
    };
  }

  private expected(slot: Slot, encoding: string): { shape: readonly (number | null)[]; words: string } {
    if (slot.kind === "map") return layoutOf(slot.term, encoding, this.order);
    if (slot.kind === "drop") return { shape: slot.shape, words: `[${slot.rule.dims}]` };
    return this.expected(this.from.byKey.get(slot.of)!, encoding);
  }

  private mixed(): MixedDtypes[] {
    if (this.options.mixedDtypes) return [];
    const slots = new Set(this.targets.flatMap((target) => ("slot" in target ? target.slot : [])));
    return [...slots].flatMap((slot) => this.mixedIn(slot) ?? []);
  }

  private mixedIn(slot: MapSlot): MixedDtypes | undefined {
    let first: readonly [key: string, dtype: string] | undefined;
    for (const canonical of this.pieces.mergedKeysOf(slot)) {
      const key = this.sourceKey(canonical);
      const dtype = this.source.get(key)?.dtype;
      if (dtype === undefined) continue;
      first ??= [key, dtype];
      if (first[1] !== dtype) return mixedDtypes(slot.key, first, [key, dtype]);
    }
    return undefined;
  }

  private collisions(): KeyCollision[] {
    const { passed } = this.resolved;
    if (passed.size === 0) return [];
    const names = new Map(this.targets.map((target) => [target.key, () => this.nameOf(target)]));
    return [...passed].flatMap(([source, canonical]): KeyCollision[] => {
      const key = this.targetKey(canonical);
      const other = names.get(key);
      if (other === undefined) names.set(key, () => source);
      const help = () => "rename one of them in the checkpoint";
      return other === undefined ? [] : [{ code: "KEY_COLLISION", key, sources: [other(), source], help }];
    });
  }

  private nameOf(target: Target): string {
    const [piece] = "slot" in target ? this.pieces.piecesOf(target.slot, (key) => this.sourceKey(key)) : [];
    return piece === undefined ? target.rule : piece.source;
  }
}

function filled({ rule, shape }: DropSlot, key: string): FilledTarget | undefined {
  if (rule.recreate === undefined) return undefined;
  // A rule that re-creates its tensor gives it a size: the compiler saw to that.
  return { key, shape: shape.map((size) => size!), value: rule.recreate, rule: "drop" };
}

const towerOf = (slot: Slot): string | undefined => (slot.kind === "map" ? slot.map.rule.tower : undefined);

function missingTower(tower: string, slots: readonly MapSlot[]): MissingTower {
  return {
    code: "MISSING_TOWER",
    key: slots[0]!.key,
    expected: `the ${tower}, as the config describes it`,
    found: "no tensor of it",
    tower,
    missing: slots.map(({ key }) => key),
    help: () =>
      "this is an export of the rest of the model: take the whole checkpoint, or the config of a model without that part",
  };
}
