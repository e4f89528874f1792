// Which field of a config switches tensors on or off that a source has, or lacks, against what the config says: tensors alone
// do not tell that one word of config.json is wrong.
import { InputError } from "../../base/errors.ts";
import type { JsonObject } from "../../base/json.ts";
import { defaultTaken } from "../../family/defaults.ts";
import { bound, type Family, tableLayout } from "../../family/family.ts";
import { type Field, fieldsRead, withField } from "../../family/fields.ts";
import type { Layout, NativeLayout } from "../../family/layout.ts";
import { abstractKey } from "../../table/dims/key-pattern.ts";
import type { FieldSwitch, TableFault } from "../../table/faults/fault.ts";
import type { Direction, Source, Table } from "../../table/plan.ts";
import type { Side } from "../../table/rule.ts";
import { KeyKinds, KeyPatterns } from "./key-kinds.ts";

/** The model whose config is asked. */
export interface Switched {
  readonly family: Family;
  readonly layout: Layout;
  /** The config as its file has it. Of a trainer's own arguments, nobody would know the fields by their names here. */
  readonly json: JsonObject;
}

/** A source that has faults. */
export interface Faulty {
  readonly direction: Direction;
  readonly source: Source;
  readonly faults: readonly TableFault[];
}

/**
 * The field with which most of the faults are gone and none is new; null where there is none. A table is compiled for a field
 * alone that by the rules can have a place for what is there, or not ask for what is missing, and loses nothing that is there.
 * @param tableOf compiles the table of a layout
 * @param check the source at hand against another table
 */
export function switchOf(
  { family, layout, json }: Switched,
  { direction, source, faults }: Faulty,
  tableOf: (native: NativeLayout) => Table,
  check: (table: Table) => readonly TableFault[],
): FieldSwitch | null {
  if (family.hfConfig() !== json) return null;
  const { own, others } = searchAt(family, layout, direction === "toHf" ? "native" : "hf");
  const kinds = new Set([...source.keys()].map(abstractKey));
  const known = new Set(faults.map(idOf));
  let best: FieldSwitch | null = null;
  for (const { field, other, native, keys } of others) {
    if (!canSettle(faults, kinds, own, keys)) continue;
    const left = checked(() => check(tableOf(native)));
    if (left === null || !left.every((fault) => known.has(idOf(fault)))) continue;
    const settles = new Set(faults.map(idOf).filter((id) => !left.some((fault) => idOf(fault) === id)));
    if (settles.size <= (best?.settles.size ?? 0)) continue;
    const path = field.path.join(".");
    const taken = field.value === undefined ? defaultTaken(json, path) : undefined;
    best = { field: path, value: field.value, ...(taken === undefined ? {} : { default: taken }), other, settles };
  }
  return best;
}

const idOf = ({ code, key }: TableFault): string => `${code} ${key}`;

/** Whether any of the faults can be gone with the other rules, and all that is there keeps its place. */
function canSettle(faults: readonly TableFault[], kinds: ReadonlySet<string>, own: KeyKinds, other: KeyKinds): boolean {
  for (const kind of kinds) if (own.surelyLoses(kind, other)) return false;
  return faults.some(
    ({ code, key }) =>
      (code === "MISSING_TENSOR" && own.mayLose(key, other)) || (code === "UNKNOWN_TENSOR" && own.mayGain(key, other)),
  );
}

interface Candidate {
  readonly field: Field;
  readonly other: unknown;
}

/** What a table has on a side, and what it would have with other fields, those apart that leave it as it is. */
interface Search {
  readonly own: KeyKinds;
  readonly others: readonly (Candidate & { readonly native: NativeLayout; readonly keys: KeyKinds })[];
}

/** By the layout of the table, which is one object as long as the config is: whoever looks for many faults asks often. */
const SEARCHES = new WeakMap<NativeLayout, Map<Side, Search>>();

function searchAt(family: Family, layout: Layout, side: Side): Search {
  const here = tableLayout(family, layout);
  const ofLayout = SEARCHES.get(here) ?? new Map<Side, Search>();
  const patterns = new KeyPatterns();
  const made = ofLayout.get(side) ?? {
    own: new KeyKinds(here, side, patterns),
    others: candidates(family).flatMap(({ field, other }) => {
      const native = openedAt(family, layout, withField(family.hfConfig(), field.path, other));
      if (native === null || here.hasTableOf?.(native) === true) return [];
      return [{ field, other, native, keys: new KeyKinds(native, side, patterns) }];
    }),
  };
  SEARCHES.set(here, ofLayout.set(side, made));
  return made;
}

/** A flag turned over, and a part of some size that there is none of. */
function candidates(family: Family): Candidate[] {
  return fieldsRead(family).flatMap((field) => othersOf(field.value).map((other) => ({ field, other })));
}

function othersOf(value: unknown): readonly unknown[] {
  if (typeof value === "boolean") return [!value];
  if (value === undefined) return [true, false];
  return typeof value === "number" && value > 0 ? [0, null] : [];
}

function openedAt(family: Family, layout: Layout, json: JsonObject): NativeLayout | null {
  return checked(() => {
    const other = family.reopened(json);
    return tableLayout(other, bound(other, layout));
  });
}

/** Null for what cannot be made of another config. */
function checked<T>(run: () => T): T | null {
  try {
    return run();
  } catch (error) {
    if (error instanceof InputError || error instanceof RangeError) return null;
    throw error;
  }
}
