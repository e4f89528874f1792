// Which kinds of keys a side of a table has, told from its rules alone: what another config would change is seen before any
// table is compiled.
import type { NativeLayout } from "../../family/layout.ts";
import type { Axes } from "../../table/dims/axes.ts";
import { abstractKey, axesOf } from "../../table/dims/key-pattern.ts";
import type { Rule, Side, Term } from "../../table/rule.ts";

/** A rule that has keys of a kind. */
interface Entry {
  /** All that is not its axes. */
  readonly text: string;
  /** Sizes, or lists of indices, of the axes in its keys. */
  readonly places: readonly Place[];
}

type Place = Axes[string] | undefined;

interface Pattern {
  /** As `abstractKey` writes it. */
  readonly kind: string;
  readonly axes: readonly string[];
  /** Of axes that shift an index too, `m` and `L` of `{m+L}`, those that are none of `axes`. */
  readonly shifts: readonly string[];
}

/** What keys of rules say, read once: a model's rules at many configs have the same ones. */
export class KeyPatterns {
  private readonly read = new Map<string, Pattern>();

  of(key: string): Pattern {
    const known = this.read.get(key);
    if (known !== undefined) return known;
    const axes = axesOf(key);
    const shifts = (key.match(/\w+(?=[^{}]*\})/g) ?? []).filter((axis) => !axes.includes(axis));
    const pattern = { kind: abstractKey(key), axes, shifts };
    this.read.set(key, pattern);
    return pattern;
  }
}

export class KeyKinds {
  /** By kind, as `abstractKey` writes it. */
  private readonly entries = new Map<string, Entry[]>();
  private readonly prefixes: string[] = [];
  /** Rules that take keys of any kind. */
  private readonly open: string[] = [];

  constructor(
    native: NativeLayout,
    side: Side,
    private readonly patterns = new KeyPatterns(),
  ) {
    const axes = native.axes();
    for (const rule of native.rules()) this.add(rule, side, axes);
  }

  private add(rule: Rule, side: Side, axes: Axes): void {
    switch (rule.kind) {
      case "map": {
        const { optional, tower, order, form } = rule;
        const entry = this.entryOf([...rule.native, ...rule.hf].map(keyOf), [optional, tower, order, form], axes);
        for (const { key, spellings = [] } of rule[side]) this.note([key, ...spellings], entry, axes);
        return;
      }
      case "tie": {
        if (rule.side !== side) return;
        const { alias, of, spellings = [], form } = rule;
        this.note([alias, ...spellings], this.entryOf([alias, of], [form], axes), axes);
        return;
      }
      case "drop":
        if (rule.side === side) this.note([rule.key], this.entryOf([rule.key], [rule.form], axes), axes);
        return;
      case "prefix":
        if (rule.side === side) this.prefixes.push(rule.prefix);
        return;
      case "passThrough":
        this.open.push(JSON.stringify([rule.required, this.entryOf([rule.native, rule.hf], [], axes)]));
        return;
      case "refuse":
        return;
      default:
        throw rule satisfies never;
    }
  }

  private note(keys: readonly string[], entry: Entry, axes: Axes): void {
    for (const key of keys) {
      const pattern = this.patterns.of(key);
      if (pattern.axes.some((axis) => axes[axis] !== undefined && sizeOf(axes[axis]) === 0)) continue;
      const entries = this.entries.get(pattern.kind);
      if (entries === undefined) this.entries.set(pattern.kind, [entry]);
      else entries.push(entry);
    }
  }

  private entryOf(keys: readonly string[], about: readonly unknown[], axes: Axes): Entry {
    const patterns = keys.map((key) => this.patterns.of(key));
    const shifts = patterns.flatMap((pattern) => pattern.shifts.map((axis) => `${axes[axis]}`));
    const places = patterns.flatMap((pattern) => pattern.axes.map((axis) => axes[axis]));
    const said = about.every((each) => each === undefined) ? "" : JSON.stringify(about);
    return { text: [...keys, said, ...shifts].join(" "), places };
  }

  /** Whether a key of this table may be none of the other's, or one that may be absent there. */
  mayLose(key: string, other: KeyKinds): boolean {
    return !this.isWithin(other, abstractKey(key)) || this.takesOthers(other);
  }

  /** Whether a key of nobody may be one of the other table's. */
  mayGain(key: string, other: KeyKinds): boolean {
    const bare = other.prefixes.filter((prefix) => key.startsWith(prefix)).map((prefix) => key.slice(prefix.length));
    return [key, ...bare].some((each) => !other.isWithin(this, abstractKey(each))) || this.takesOthers(other);
  }

  /** Whether keys of a kind are this table's, and certainly none of the other's. */
  surelyLoses(kind: string, other: KeyKinds): boolean {
    return other.open.length === 0 && this.entries.has(kind) && !other.entries.has(kind);
  }

  /** Whether the other table has all keys of a kind by the same rules. */
  private isWithin(other: KeyKinds, kind: string): boolean {
    const [own, others] = [this.entries.get(kind) ?? [], other.entries.get(kind) ?? []];
    return own.length === 0 || (own.length === others.length && own.every((entry, i) => isPart(entry, others[i]!)));
  }

  private takesOthers(other: KeyKinds): boolean {
    return `${this.open} ${this.prefixes}` !== `${other.open} ${other.prefixes}`;
  }
}

const keyOf = ({ key }: Term): string => key;

/** Whether each index of the one's axes is one of the other's. */
const isPart = (one: Entry, other: Entry): boolean =>
  one.text === other.text && one.places.every((place, i) => isSubset(place, other.places[i]));

const sizeOf = (place: Place): number => (typeof place === "object" ? place.length : (place ?? 0));

function isSubset(one: Place, other: Place): boolean {
  if (typeof one === "object") {
    const isThere =
      typeof other === "object" ? (index: number) => other.includes(index) : (index: number) => index < sizeOf(other);
    return one.every(isThere);
  }
  if (typeof other !== "object") return sizeOf(one) <= sizeOf(other);
  const size = sizeOf(one);
  return size <= other.length && Array.from({ length: size }, (_, index) => index).every((i) => other.includes(i));
}
