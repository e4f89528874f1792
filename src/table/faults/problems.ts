// What is wrong between a checkpoint and a table, in words: the first tensor at fault, how many more, and the way out.
import { InputError } from "../../base/errors.ts";
import { nearestKey } from "../../base/near.ts";
import type { FieldSwitch, MissingTensor, MissingTower, TableFault, UnknownTensor } from "./fault.ts";

const NAMES_SHOWN = 3;

const quote = (key: string): string => `"${key}"`;

/** The error of a fault. `all` are all faults found, itself among them: the message counts those of its kind. */
export function errorOf(fault: TableFault, all: readonly TableFault[]): InputError {
  const name = quote(fault.key);
  switch (fault.code) {
    case "AMBIGUOUS_ORDER":
      return errorAs("AMBIGUOUS_ORDER", `${name}: its shape [${fault.shape}] fits several orders of dims`, fault);
    case "TWO_SPELLINGS":
      return errorAs("TWO_SPELLINGS", `${quote(fault.other)} and ${name} are two spellings of one tensor`, fault);
    case "MISSING_TOWER": {
      const { tower, missing } = fault;
      const count = `${missing.length} tensors`;
      const others = restMissing(fault, all);
      return errorAs("MISSING_TOWER", `the ${tower} is absent as a whole: ${count}, from ${name} on${others}`, fault);
    }
    case "MISSING_TENSOR": {
      const { spellings, expected } = fault;
      const spelled = spellings.length === 0 ? "" : ` (or ${spellings.map(quote).join(", ")})`;
      return errorAs(
        "MISSING_TENSOR",
        `${name}${spelled} is missing: expected ${expected}${andMore(fault, all)}${bySwitch(fault, all)}`,
        fault,
        switchHelp(fault, all),
      );
    }
    case "UNKNOWN_TENSOR": {
      const why = fault.reason === undefined ? "" : `: it ${fault.reason}`;
      return errorAs(
        "UNKNOWN_TENSOR",
        `no rule for ${name}${why}${andMore(fault, all)}${bySwitch(fault, all)}`,
        fault,
        switchHelp(fault, all),
      );
    }
    case "SHAPE_MISMATCH": {
      const { expected, words, found } = fault;
      return errorAs(
        "SHAPE_MISMATCH",
        `${name}: expected ${expected} = ${words}, got ${found}${andMore(fault, all)}`,
        fault,
      );
    }
    case "WEIGHT_NOT_FLOAT": {
      const more = andMore(fault, all);
      return errorAs("WEIGHT_NOT_FLOAT", `${name} is ${fault.found}, and no weight is stored so${more}`, fault);
    }
    case "MIXED_DTYPES": {
      const [target, other] = [quote(fault.target), quote(fault.other)];
      const { expected, found } = fault;
      return errorAs(
        "MIXED_DTYPES",
        `${target} would be made of ${other} in ${expected} and ${name} in ${found}`,
        fault,
      );
    }
    case "KEY_COLLISION":
      return errorAs("KEY_COLLISION", `${fault.sources.map(quote).join(" and ")} would both become ${name}`, fault);
    default:
      throw fault satisfies never;
  }
}

const errorAs = (
  code: TableFault["code"],
  message: string,
  { key, expected, found, help }: TableFault,
  switchHelp = "",
): InputError =>
  new InputError(code, message, {
    tensor: key,
    ...(expected === undefined ? {} : { expected }),
    ...(found === undefined ? {} : { found }),
    help: `${switchHelp}${help()}`,
  });

type Switchable = MissingTensor | UnknownTensor;

/** The field that switches tensors of this fault's kind: `; the config says attention_bias: false, and one with true …` */
export function bySwitch(fault: Switchable, all: readonly TableFault[]): string {
  const found = switchAmong(fault, all);
  if (found === null) return "";
  const { field, value, other, settles } = found;
  const taken = found.default === undefined ? "" : `, which is ${JSON.stringify(found.default)} then`;
  const now = value === undefined ? `does not say ${field}${taken}` : `says ${field}: ${JSON.stringify(value)}`;
  const alike = all.filter(({ code }) => code === fault.code);
  const settled = alike.filter(({ code, key }) => settles.has(`${code} ${key}`)).length;
  const them = settled < alike.length ? `${settled} of them` : settled === 1 ? "it" : "them";
  const then = fault.code === "UNKNOWN_TENSOR" ? `has a place for ${them}` : `does not ask for ${them}`;
  return `; the config ${now}, and one with ${JSON.stringify(other)} ${then}`;
}

/** Null for a switch that says nothing of tensors of this fault's kind: it explains others. */
function switchAmong({ code }: Switchable, all: readonly TableFault[]): FieldSwitch | null {
  const alike = all.filter((fault): fault is Switchable => fault.code === code);
  const found = alike.find(({ switched }) => switched !== undefined)?.switched?.() ?? null;
  return alike.some(({ key }) => found?.settles.has(`${code} ${key}`)) ? found : null;
}

function switchHelp(fault: Switchable, all: readonly TableFault[]): string {
  const found = switchAmong(fault, all);
  if (found === null) return "";
  const { field, other } = found;
  return `if the tensors are right, give the config that belongs to them (--config), with ${field}: ${JSON.stringify(other)}; else `;
}

/** `; and 5 more: "a", "b", "c", …` */
function andMore(fault: TableFault, all: readonly TableFault[]): string {
  const others = all.filter(({ code, key }) => code === fault.code && key !== fault.key).map(({ key }) => key);
  if (others.length === 0) return "";
  const names = others.slice(0, NAMES_SHOWN).map(quote);
  return `; and ${others.length} more: ${names.join(", ")}${others.length > NAMES_SHOWN ? ", …" : ""}`;
}

function restMissing(fault: MissingTower, all: readonly TableFault[]): string {
  const rest = all.reduce((count, other) => count + (other === fault ? 0 : lackingBy(other)), 0);
  return rest === 0 ? "" : `; and ${rest} tensors of the rest are missing`;
}

/** Tensors that are missing by a fault. */
function lackingBy(fault: TableFault): number {
  if (fault.code === "MISSING_TOWER") return fault.missing.length;
  return fault.code === "MISSING_TENSOR" ? 1 : 0;
}

/** Where vision-language models have had their text model, and where a text model alone is. */
const TEXT_PREFIXES = ["model.language_model.", "language_model.model.", "model.text_model.", "model."];

/** The help for a text model that the checkpoint has under another name than the config's model. */
function textUnderAnother(key: string, unknown: readonly string[]): string | undefined {
  const own = TEXT_PREFIXES.find((prefix) => key.startsWith(prefix));
  if (own === undefined) return undefined;
  const other = TEXT_PREFIXES.find((prefix) => prefix !== own && unknown.includes(prefix + key.slice(own.length)));
  if (other === undefined) return undefined;
  return `the checkpoint has its text model under ${quote(other)}, and a model of this config has it under ${quote(own)}: take the config that belongs to these keys, or rename them`;
}

/** What models of rewards, values, classes and spans have in place of a language model's head, as transformers names it. */
const OTHER_HEAD = /(?:^|\.)(?:score|classifier|qa_outputs)\.(?:weight|bias)$/;

/** @param unknown keys of the source without a rule */
export function missingHelp(key: string, unknown: readonly string[]): string {
  const moved = textUnderAnother(key, unknown);
  if (moved !== undefined) return moved;
  const head = key === "lm_head.weight" ? unknown.find((other) => OTHER_HEAD.test(other)) : undefined;
  if (head !== undefined)
    return `this is no language model: it has ${quote(head)} in place of that head, as models of rewards, values and classes do. No layout of a trainer has a place for it; --to raw writes it whole under the keys it has`;
  const near = nearestKey(key, unknown);
  if (near !== undefined) return `the checkpoint has ${quote(near)}, which no rule knows: is it meant?`;
  return unknown[0] === undefined
    ? "the checkpoint is incomplete, or its config describes another model"
    : `the checkpoint has tensors that no rule knows, such as ${quote(unknown[0])}: name its layout or family with --layout, --family`;
}
