// Native files of one trainer in several forms: the same tensors under other keys, as layers stacked or one by one. Each form
// has a table of its own against the same Hugging Face keys, and the keys of a checkpoint tell which one holds.
import { InputError } from "../base/errors.ts";
import { abstractKey } from "./dims/key-pattern.ts";
import type { Source } from "./request.ts";
import type { Form, Rule } from "./rule.ts";

const formOf = (rule: Rule): Form | undefined => ("form" in rule ? rule.form : undefined);

export class Forms {
  /** The one that is written first. */
  readonly names: readonly Form[];
  readonly #rules: readonly Rule[];
  /** Kinds of native keys that each form knows, made when several are to be told apart. */
  #kinds: readonly ReadonlySet<string>[] | undefined;

  constructor(rules: readonly Rule[]) {
    this.#rules = rules;
    this.names = [...new Set(["", ...rules.flatMap((rule) => formOf(rule) ?? [])])];
  }

  /** The rules that hold in a form. */
  rulesIn(form: Form): readonly Rule[] {
    return this.#rules.filter((rule) => (formOf(rule) ?? form) === form);
  }

  /** The form that knows the most kinds of keys of native files; of equals, the first. */
  of(native: Source): Form {
    if (this.names.length === 1) return "";
    this.#kinds ??= this.names.map((form) => nativeKinds(this.rulesIn(form)));
    const there = [...new Set([...native.keys()].map(abstractKey))];
    const known = this.#kinds.map((own) => there.filter((kind) => own.has(kind)).length);
    return this.names[known.indexOf(Math.max(...known))] ?? "";
  }

  /** The form to write. Throws InputError UNKNOWN_ORDER where there is none of the name. */
  checked(form: Form = ""): Form {
    if (this.names.includes(form)) return form;
    throw new InputError("UNKNOWN_ORDER", `no tensor of this model is written in the form "${form}"`, {
      expected: this.names.filter((each) => each !== "").join(", "),
      found: form,
      help: "leave the form out to convert by the defaults",
    });
  }
}

/** Kinds of native keys that rules know, indices aside. */
function nativeKinds(rules: readonly Rule[]): ReadonlySet<string> {
  const keys = rules.flatMap((rule) => {
    if (rule.kind === "map") return rule.native.flatMap(({ key, spellings = [] }) => [key, ...spellings]);
    if (rule.kind === "tie") return rule.side === "native" ? [rule.alias, ...(rule.spellings ?? [])] : [];
    return rule.kind === "drop" && rule.side === "native" ? [rule.key] : [];
  });
  return new Set(keys.map(abstractKey));
}
