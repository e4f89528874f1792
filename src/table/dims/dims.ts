// Dims expressions: what they mean, and where the elements of each part lie in a row-major tensor.
import { InputError } from "../../base/errors.ts";

export type Factor = { readonly axis: string } | { readonly parts: readonly Part[] } | { readonly product: Product };
export type Product = readonly Factor[];
export interface Part {
  readonly label: string;
  readonly product: Product;
}

export interface ParsedDims {
  /** Part that the whole tensor is, `"q: (n H) d"`. */
  readonly label: string | null;
  /** One factor per dimension. */
  readonly dims: Product;
}

/** Elements of one part: element (i₁, i₂, …) of its axes lies at offset + Σ iₐ·strideₐ. */
export interface Block {
  /** Sorted labels of the parts it lies in, joined by `+`; empty in a tensor without parts. */
  readonly label: string;
  readonly offset: number;
  readonly strides: ReadonlyMap<string, number>;
}

export interface TensorLayout {
  readonly shape: readonly number[];
  readonly blocks: readonly Block[];
}

export function tableError(message: string, help = "correct the rule in the family's mapping.ts"): InputError {
  return new InputError("TABLE_INVALID", message, { help });
}

const isName = (token: string | undefined): token is string => token !== undefined && /^\w+$/.test(token);

/** Reads an expression such as `"(k (q: r H | k: H | v: H)) d"`. Throws InputError TABLE_INVALID. */
export const parseDims = (text: string): ParsedDims => new DimsParser(text).parse();

class DimsParser {
  private readonly tokens: readonly string[];
  private at = 0;

  constructor(private readonly text: string) {
    this.tokens = text.match(/[A-Za-z_]\w*|\S/g) ?? [];
  }

  parse(): ParsedDims {
    const label = this.label();
    if (this.tokens[this.at] === "." && this.at === this.tokens.length - 1) return { label, dims: [] };
    const dims = this.product();
    if (this.at < this.tokens.length) this.fail(`unexpected "${this.tokens[this.at]}"`);
    if (dims.length === 0) this.fail(`no axes; a scalar is written "."`);
    return { label, dims };
  }

  private label(): string | null {
    const name = this.tokens[this.at];
    if (!isName(name) || this.tokens[this.at + 1] !== ":") return null;
    this.at += 2;
    return name;
  }

  private product(): Factor[] {
    const factors: Factor[] = [];
    for (let token = this.tokens[this.at]; token !== undefined && token !== ")" && token !== "|"; ) {
      factors.push(this.factor());
      token = this.tokens[this.at];
    }
    return factors;
  }

  private factor(): Factor {
    const token = this.tokens[this.at++];
    if (token === "(") return this.group();
    if (token === "?" || isName(token)) return { axis: token };
    return this.fail(`unexpected "${token}"`);
  }

  /** What stands in parentheses: parts if it has a bar or begins with a label, else a product. */
  private group(): Factor {
    if (!this.groupHasParts()) {
      const product = this.product();
      this.expect(")");
      return { product };
    }
    const parts = [this.part()];
    while (this.tokens[this.at] === "|") {
      this.at++;
      parts.push(this.part());
    }
    this.expect(")");
    return { parts };
  }

  private groupHasParts(): boolean {
    if (this.tokens[this.at + 1] === ":") return true;
    let depth = 0;
    for (let i = this.at; i < this.tokens.length && depth >= 0; i++) {
      if (this.tokens[i] === "|" && depth === 0) return true;
      depth += this.tokens[i] === "(" ? 1 : this.tokens[i] === ")" ? -1 : 0;
    }
    return false;
  }

  private part(): Part {
    const label = this.label();
    if (label !== null) return { label, product: this.product() };
    const name = this.tokens[this.at++];
    return isName(name)
      ? { label: name, product: [] }
      : this.fail(`a part needs a label, found "${name ?? "the end"}"`);
  }

  private expect(token: string): void {
    if (this.tokens[this.at++] !== token) this.fail(`"${token}" is missing, or a part has axes but no colon`);
  }

  private fail(what: string): never {
    throw tableError(`dims "${this.text}": ${what}`);
  }
}

/** The axes of an expression, each once. */
export const axesOf = (product: Product): Set<string> =>
  new Set(
    product.flatMap((factor) => {
      if ("axis" in factor) return [factor.axis];
      return [...("product" in factor ? axesOf(factor.product) : axesOf(factor.parts.flatMap((p) => p.product)))];
    }),
  );

/** An expression as it is written: `"n·H"` for a product, `"q: n·H | k: k·H"` in parentheses for parts. */
export function printFactor(factor: Factor): string {
  if ("axis" in factor) return factor.axis;
  if ("product" in factor) return factor.product.map(printFactor).join("·");
  return `(${factor.parts.map((p) => [p.label, p.product.map(printFactor).join("·")].filter(Boolean).join(": ")).join(" | ")})`;
}

interface Extent {
  readonly size: number;
  readonly blocks: readonly {
    labels: readonly string[];
    offset: number;
    strides: readonly (readonly [string, number])[];
  }[];
}

/** Shape and blocks of a row-major tensor. Throws InputError TABLE_INVALID where an axis comes twice in a part. */
export function layOut(dims: ParsedDims, sizeOf: (axis: string) => number): TensorLayout {
  const shape = dims.dims.map((factor) => factorExtent(factor, 1, sizeOf).size);
  const labels = dims.label === null ? [] : [dims.label];
  const blocks = productExtent(dims.dims, 1, sizeOf).blocks.map((block) => {
    const strides = new Map(block.strides);
    if (strides.size < block.strides.length) {
      const twice = block.strides.find(([axis], i) => block.strides.findIndex(([other]) => other === axis) < i);
      throw tableError(`axis "${twice?.[0]}" comes twice in [${dims.dims.map(printFactor).join(", ")}]`);
    }
    return { label: [...labels, ...block.labels].sort().join("+"), offset: block.offset, strides };
  });
  return { shape, blocks };
}

/** Blocks of a product whose last factor has the given stride. */
function productExtent(product: Product, stride: number, sizeOf: (axis: string) => number): Extent {
  let size = 1;
  let blocks: Extent["blocks"] = [{ labels: [], offset: 0, strides: [] }];
  for (const factor of product.toReversed()) {
    const outer = factorExtent(factor, stride * size, sizeOf);
    blocks = outer.blocks.flatMap((a) =>
      blocks.map((b) => ({
        labels: [...a.labels, ...b.labels],
        offset: a.offset + b.offset,
        strides: [...a.strides, ...b.strides],
      })),
    );
    size *= outer.size;
  }
  return { size, blocks };
}

function factorExtent(factor: Factor, stride: number, sizeOf: (axis: string) => number): Extent {
  if ("axis" in factor)
    return { size: sizeOf(factor.axis), blocks: [{ labels: [], offset: 0, strides: [[factor.axis, stride]] }] };
  if ("product" in factor) return productExtent(factor.product, stride, sizeOf);
  let size = 0;
  const blocks: Extent["blocks"][number][] = [];
  for (const part of factor.parts) {
    const inner = productExtent(part.product, stride, sizeOf);
    const begin = size * stride;
    for (const b of inner.blocks)
      blocks.push({ labels: [part.label, ...b.labels], offset: begin + b.offset, strides: b.strides });
    size += inner.size;
  }
  return { size, blocks };
}
