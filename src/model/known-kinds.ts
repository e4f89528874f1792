// Kinds of keys, indices aside, that the rules of a table know on one side.
import { abstractKey } from "../table/dims/key-pattern.ts";
import { passesKind } from "../table/pass-through.ts";
import type { Rule, Side } from "../table/rule.ts";

export const share = (part: number, whole: number): number => (whole === 0 ? 0 : part / whole);

export class KnownKinds {
  /** Required kinds and the tower each belongs to. */
  private readonly required = new Map<string, string | undefined>();
  /** Canonical kind by every accepted spelling. */
  private readonly spellings = new Map<string, string>();
  private readonly prefixes: string[] = [];
  private readonly passed: string[] = [];

  constructor(rules: readonly Rule[], side: Side) {
    for (const rule of rules) this.add(rule, side);
  }

  private add(rule: Rule, side: Side): void {
    switch (rule.kind) {
      case "map":
        for (const { key, spellings = [] } of rule[side]) {
          const kind = abstractKey(key);
          if (!rule.optional && !rule.order) this.required.set(kind, rule.tower);
          for (const text of [key, ...spellings]) this.spellings.set(abstractKey(text), kind);
        }
        break;
      case "tie":
      case "drop": {
        const kind = abstractKey(rule.kind === "tie" ? rule.alias : rule.key);
        if (rule.side === side) this.spellings.set(kind, kind);
        break;
      }
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

  get spelled(): Iterable<string> {
    return this.spellings.keys();
  }

  canonical(kind: string): string | undefined {
    const own = this.spellings.get(kind);
    if (own !== undefined) return own;
    for (const prefix of this.prefixes) {
      const other = this.spellings.get(kind.startsWith(prefix) ? kind.slice(prefix.length) : prefix + kind);
      if (other !== undefined) return other;
    }
    return this.passed.some((pattern) => passesKind(pattern, kind)) ? kind : undefined;
  }

  /** Share of the required kinds that are there. Where the family is settled, a tower may be absent as a whole. */
  presence(found: readonly string[], isSettled: boolean): number {
    const towers = new Set(found.map((kind) => this.required.get(kind)));
    const due = [...this.required].filter(([, tower]) => !isSettled || tower === undefined || towers.has(tower));
    const there = new Set(found);
    return share(due.filter(([kind]) => there.has(kind)).length, due.length);
  }
}
