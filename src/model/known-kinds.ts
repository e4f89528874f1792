// Kinds of keys, indices aside, that the rules of a table know on one side.
import { abstractKey } from "../table/dims/key-pattern.ts";
import { passesKind } from "../table/pass-through.ts";
import type { MapRule, Rule, Side } from "../table/rule.ts";

export const share = (part: number, whole: number): number => (whole === 0 ? 0 : part / whole);

export class KnownKinds {
  /** Required kinds and the tower each belongs to. */
  private readonly required = new Map<string, string | undefined>();
  /** Canonical kinds by every accepted spelling: in another order a tensor may stand for several. */
  private readonly spellings = new Map<string, readonly string[]>();
  private readonly prefixes: string[] = [];
  private readonly passed: string[] = [];

  constructor(rules: readonly Rule[], side: Side) {
    for (const rule of rules) this.add(rule, side, rules);
  }

  private add(rule: Rule, side: Side, all: readonly Rule[]): void {
    switch (rule.kind) {
      case "map":
        for (const { key, spellings = [] } of rule[side]) {
          const kind = abstractKey(key);
          if (!rule.optional && !rule.order && !rule.form) this.required.set(kind, rule.tower);
          const kinds = rule.form ? usualKinds(rule, side, all) : rule.order ? canonicalKinds(rule, side, all) : [kind];
          for (const text of [key, ...spellings]) this.spell(text, kinds);
        }
        break;
      case "tie":
        // Files may have the alias alone.
        if (rule.side === side)
          for (const text of [rule.alias, ...(rule.spellings ?? [])])
            this.spell(text, [rule.alias, rule.of].map(abstractKey));
        break;
      case "drop":
        if (rule.side === side) this.spell(rule.key, [abstractKey(rule.key)]);
        break;
      case "prefix":
        if (rule.side === side) this.prefixes.push(rule.prefix);
        break;
      case "passThrough":
        this.passed.push(rule[side]);
        break;
      case "refuse":
        if (rule.side === side) this.passed.push(rule.keys);
        break;
      default:
        throw rule satisfies never;
    }
  }

  private spell(text: string, kinds: readonly string[]): void {
    const kind = abstractKey(text);
    this.spellings.set(kind, [...(this.spellings.get(kind) ?? []), ...kinds]);
  }

  get spelled(): Iterable<string> {
    return this.spellings.keys();
  }

  get requiredKinds(): readonly string[] {
    return [...this.required.keys()];
  }

  /** The canonical kinds that a kind stands for; undefined where it is not known. */
  canonical(kind: string): readonly string[] | undefined {
    const own = this.spellings.get(kind);
    if (own !== undefined) return own;
    for (const prefix of this.prefixes) {
      const other = this.spellings.get(kind.startsWith(prefix) ? kind.slice(prefix.length) : prefix + kind);
      if (other !== undefined) return other;
    }
    return this.passed.some((pattern) => passesKind(pattern, kind)) ? [kind] : undefined;
  }

  /** Whether kinds are all known, and all that is required. */
  areAll(kinds: Iterable<string>): boolean {
    const found: string[] = [];
    for (const kind of kinds) {
      const own = this.canonical(kind);
      if (own === undefined) return false;
      found.push(...own);
    }
    return this.presence(found, false) === 1;
  }

  /** Share of the required kinds that are there. Where the family is settled, a tower may be absent as a whole. */
  presence(found: readonly string[], isSettled: boolean): number {
    const towers = new Set(found.map((kind) => this.required.get(kind)));
    const due = [...this.required].filter(([, tower]) => !isSettled || tower === undefined || towers.has(tower));
    const there = new Set(found);
    return share(due.filter(([kind]) => there.has(kind)).length, due.length);
  }
}

/** What rules of the canonical order have in place of one of another order. */
const canonicalKinds = ({ group }: MapRule, side: Side, all: readonly Rule[]): string[] =>
  all
    .filter((other) => other.kind === "map")
    .filter((other) => other.order === "" && other.group === group)
    .flatMap((other) => other[side].map(({ key }) => abstractKey(key)));

/** What rules of the usual form have in place of one of another form: those that share a key of the HF side. */
function usualKinds({ hf }: MapRule, side: Side, all: readonly Rule[]): string[] {
  const keys = new Set(hf.map(({ key }) => key));
  return all
    .filter((other) => other.kind === "map")
    .filter((other) => other.form === "" && other.hf.some(({ key }) => keys.has(key)))
    .flatMap((other) => other[side].map(({ key }) => abstractKey(key)));
}
