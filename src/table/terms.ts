// One tensor of a rule, laid out, and the proof that both sides of a rule hold the same elements.
import type { AxisTable } from "./dims/axes.ts";
import {
  type Block,
  layOut,
  type ParsedDims,
  parseDims,
  printFactor,
  type TensorLayout,
  tableError,
} from "./dims/dims.ts";
import { type KeyPattern, parseKey } from "./dims/key-pattern.ts";
import type { Ranks, Term } from "./rule.ts";

export interface CompiledTerm {
  readonly op: string;
  readonly key: KeyPattern;
  readonly ranks: Ranks | null;
  readonly critical: string | null;
  readonly plain: Layout;
  readonly encoded: ReadonlyMap<string, Layout>;
  readonly orders: ReadonlyMap<string, Layout>;
}

export interface Layout extends TensorLayout {
  /** The dims in words, for messages: `[n·H, d]`. */
  readonly words: string;
}

/** Throws InputError TABLE_INVALID. */
export function compileTerm(term: Term, op: string, table: AxisTable): CompiledTerm {
  const key = parseKey(term.key, table.size);
  const layout = (dims: string): Layout => {
    const parsed = parseDims(dims);
    const { shape, blocks } = layOut(parsed, table.size);
    const both = key.axes.find((axis) => blocks.some((block) => block.strides.has(axis)));
    if (both !== undefined) throw tableError(`${op} "${term.key}": axis "${both}" is in the key and in the dims`);
    return { shape, blocks, words: words(parsed) };
  };
  const layouts = (named: Readonly<Record<string, string>> = {}) =>
    new Map(Object.entries(named).map(([name, dims]) => [name, layout(dims)]));
  const { ranks = null, critical = null } = term;
  const encoded = layouts(term.encoded);
  const orders = layouts(term.orders);
  const compiled = { op, key, ranks, critical, plain: layout(term.dims), encoded, orders };
  for (const [name, { blocks }] of [...encoded, ...orders]) {
    if (signature(key, blocks) !== signature(key, compiled.plain.blocks))
      throw tableError(`${op} "${term.key}": dims as ${name} have other parts or axes`);
  }
  return compiled;
}

const words = (dims: ParsedDims): string => `[${dims.dims.map(printFactor).join(", ")}]`;

const axesOfBlock = (key: KeyPattern, block: Block): string => [...key.axes, ...block.strides.keys()].sort().join(" ");

const signature = (key: KeyPattern, blocks: readonly Block[]): string =>
  blocks
    .map((block) => `${block.label}: ${axesOfBlock(key, block)}`)
    .sort()
    .join("; ");

/** Every part stands once on each side, over the same axes. */
export function proveSameParts(native: readonly CompiledTerm[], hf: readonly CompiledTerm[]): void {
  const nativeParts = partsOf(native, "native");
  const hfParts = partsOf(hf, "HF");
  const name = `${native[0]?.op} "${native[0]?.key.text}"`;
  for (const label of new Set([...nativeParts.keys(), ...hfParts.keys()])) {
    const a = nativeParts.get(label);
    const b = hfParts.get(label);
    if (a === undefined || b === undefined) {
      const list = (parts: Map<string, string>) =>
        `[${[...parts.keys()].map((key) => key || "unlabelled").join(", ")}]`;
      throw tableError(`${name}: parts differ: native ${list(nativeParts)}, HF ${list(hfParts)}`);
    }
    const part = label === "" ? "" : ` of part "${label}"`;
    if (a !== b) throw tableError(`${name}: axes${part} differ: native [${a}], HF [${b}]`);
  }
}

function partsOf(terms: readonly CompiledTerm[], side: string): Map<string, string> {
  const parts = new Map<string, string>();
  for (const { op, key, plain } of terms) {
    for (const block of plain.blocks) {
      const part = block.label === "" ? "the whole tensor" : `part "${block.label}"`;
      if (parts.has(block.label)) throw tableError(`${op} "${key.text}": ${part} comes twice on the ${side} side`);
      parts.set(block.label, axesOfBlock(key, block));
    }
  }
  return parts;
}

/** The dims that hold where the tensor is stored under an encoding and in an order; "" is none. */
export const layoutOf = (term: CompiledTerm, encoding: string, order = ""): Layout =>
  term.encoded.get(encoding) ?? term.orders.get(order) ?? term.plain;
