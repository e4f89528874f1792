// Ways to read the keys of a model: wrappers of modules taken out, a lead that they share taken off, a lead that they
// lack put before them. All of them follow from the keys at hand.
import { abstractKey } from "../../table/dims/key-pattern.ts";

/** Modules that hold another one and nothing of their own, by the name that they hold it under, and who wraps so. */
const WRAPPERS: ReadonlyMap<string, string> = new Map([
  ["_orig_mod", "torch.compile"],
  ["_fsdp_wrapped_module", "FSDP"],
  ["_fpw_module", "FSDP"],
  ["_checkpoint_wrapped_module", "activation checkpointing"],
  ["_forward_module", "Lightning Fabric"],
]);

/** A layer that a PEFT adapter is wrapped around, and what shows that the adapter is still there. */
const BASE_LAYER = "base_layer";
const ADAPTER_PART =
  /(?:^|\.)(?:lora_\w+|modules_to_save|original_module|ia3_l|vera_lambda_\w|hada_\w+|oft_\w+)(?:\.|$)/;

/** Kinds of keys in published models are some hundreds; of more than this no family knows the half. */
export const MOST_KINDS = 10_000;
const DEEPEST_LEAD = 6;

/** Kinds of keys, indices aside, and a key of each. */
export type Kinds = ReadonlyMap<string, { readonly count: number; readonly example: string }>;

/** No more than one above the most: a million keys that are all different would take minutes, and fit nothing. */
export function kindsOf(keys: Iterable<string>): Kinds {
  const kinds = new Map<string, { count: number; example: string }>();
  for (const key of keys) {
    const kind = abstractKey(key);
    const found = kinds.get(kind);
    if (found === undefined) kinds.set(kind, { count: 1, example: key });
    else found.count++;
    if (kinds.size > MOST_KINDS) break;
  }
  return kinds;
}

/** How keys are read. Texts are kinds: `#` stands for an index. */
export interface Reading {
  /** Names of modules that are taken out wherever they stand. */
  readonly wrappers: readonly string[];
  /** Taken off the keys that begin with it, e.g. `model.`. */
  readonly lead: string;
  /** Put before the keys that need it. */
  readonly added: string;
  /** Key or kind → key or kind. */
  readonly rename: (key: string) => string;
}

export const AS_THEY_ARE: Reading = { wrappers: [], lead: "", added: "", rename: (key) => key };

/** The keys without wrappers. */
export function unwrapped(kinds: Kinds): Reading {
  const segments = new Set([...kinds.keys()].flatMap((kind) => kind.split(".")));
  const wrappers = [...WRAPPERS.keys()].filter((name) => segments.has(name));
  if (segments.has(BASE_LAYER) && ![...kinds.keys()].some((kind) => ADAPTER_PART.test(kind))) wrappers.push(BASE_LAYER);
  if (wrappers.length === 0) return AS_THEY_ARE;
  const isWrapper = new Set(wrappers);
  const rename = (key: string) =>
    key
      .split(".")
      .filter((segment) => !isWrapper.has(segment))
      .join(".");
  return { ...AS_THEY_ARE, wrappers, rename };
}

/**
 * What the keys are after each lead that at least half of their kinds share, shortest first: the rest of the keys stays
 * as it is.
 */
export function* withoutLeads(kinds: Kinds, base: Reading): Generator<Reading> {
  const names = [...kinds.keys()].map(base.rename);
  for (const lead of leadsOf(names)) {
    const off = takeOff(lead);
    yield { ...base, lead, rename: (key) => off(base.rename(key)) };
  }
}

/** Takes a lead off a key or a kind that begins with it. */
function takeOff(lead: string): (key: string) => string {
  if (!/(?:^|\.)#\./.test(lead)) return (key) => (key.startsWith(lead) ? key.slice(lead.length) : key);
  const segments = lead.split(".").slice(0, -1);
  return (key) => {
    const own = key.split(".");
    const isSame = (segment: string, i: number) =>
      own[i] === segment || (segment === "#" && /^\d+$/.test(own[i] ?? ""));
    return own.length > segments.length && segments.every(isSame) ? own.slice(segments.length).join(".") : key;
  };
}

/** The keys with a lead put before those that begin with none of a layout's modules. @param tops these modules */
export function withAdded(base: Reading, added: string, tops: ReadonlySet<string>): Reading {
  const rename = (key: string) => {
    const name = base.rename(key);
    return tops.has(name.split(".", 1)[0]!) ? name : added + name;
  };
  return { ...base, added, rename };
}

/** Leads of at least half of the names, each followed by more of the name, shortest first. */
export function leadsOf(names: readonly string[]): string[] {
  if (names.length > MOST_KINDS) return [];
  const leads: string[] = [];
  let open = [{ lead: "", own: names }];
  for (let depth = 0; depth < DEEPEST_LEAD && open.length > 0; depth++) {
    open = open.flatMap(({ lead, own }) => {
      const groups = new Map<string, string[]>();
      for (const name of own) {
        const longer = name.slice(0, name.indexOf(".", lead.length) + 1);
        const group = groups.get(longer);
        if (group === undefined) groups.set(longer, [name]);
        else group.push(name);
      }
      return [...groups]
        .filter(([longer, group]) => longer.length > lead.length && group.length * 2 >= names.length)
        .map(([longer, group]) => ({ lead: longer, own: group }));
    });
    leads.push(...open.map(({ lead }) => lead));
  }
  return leads;
}

/** What a reader of reports ought to know of a reading. */
export function notesOf({ wrappers, lead, added }: Reading): string[] {
  const shown = (text: string) => `"${text}"`;
  return [
    ...wrappers.map((name) =>
      name === BASE_LAYER
        ? `${shown(name)} is taken out of the keys: a PEFT adapter was wrapped around these layers, and whether it was merged into them does not show here`
        : `${shown(name)} is taken out of the keys: ${WRAPPERS.get(name)} puts it there`,
    ),
    ...(lead === "" ? [] : [`${shown(lead)} is taken off the keys: the model's stand under it`]),
    ...(added === "" ? [] : [`${shown(added)} is put before the keys: base classes of transformers save without it`]),
  ];
}

/** The reading as a clause: `after "_orig_mod" and "module." are taken off`. */
export function afterReading({ wrappers, lead, added }: Reading): string {
  const off = [...wrappers, ...(lead === "" ? [] : [lead])].map((text) => `"${text}"`);
  const parts = [
    ...(off.length === 0 ? [] : [`${off.join(" and ")} ${off.length === 1 ? "is" : "are"} taken off`]),
    ...(added === "" ? [] : [`"${added}" is put before`]),
  ];
  return parts.length === 0 ? "" : ` after ${parts.join(" and ")}`;
}
