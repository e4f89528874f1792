// Dims made from dims, so that a rule states them once.
import { type Factor, type ParsedDims, type Product, parseDims, tableError } from "./dims.ts";

const print = (factor: Factor): string => {
  if ("axis" in factor) return factor.axis;
  if ("product" in factor) return `(${factor.product.map(print).join(" ")})`;
  return `(${factor.parts.map((p) => (p.product.length > 0 ? `${p.label}: ${p.product.map(print).join(" ")}` : p.label)).join(" | ")})`;
};

function printDims({ label, dims }: ParsedDims): string {
  return `${label === null ? "" : `${label}: `}${dims.map(print).join(" ") || "."}`;
}

/** Products inside products dissolved, products of one factor replaced by it, empty ones left out. */
function flat(product: Product): Factor[] {
  return product.flatMap((factor): Factor[] => {
    if ("axis" in factor) return [factor];
    if ("parts" in factor)
      return [{ parts: factor.parts.map(({ label, product: inner }) => ({ label, product: flat(inner) })) }];
    return flat(factor.product);
  });
}

const tidy = ({ label, dims }: ParsedDims): ParsedDims => ({
  label,
  dims: dims.flatMap((factor): Factor[] => {
    const product = flat([factor]);
    return product.length > 1 ? [{ product }] : product;
  }),
});

/** Applies `change` to every product, innermost first. */
function rewrite(product: Product, change: (product: Product) => Product): Product {
  return change(
    product.map((factor) => {
      if ("axis" in factor) return factor;
      if ("product" in factor) return { product: rewrite(factor.product, change) };
      return { parts: factor.parts.map((part) => ({ ...part, product: rewrite(part.product, change) })) };
    }),
  );
}

export const reversedDims = (text: string): string => {
  const { label, dims } = parseDims(text);
  return printDims({ label, dims: dims.toReversed() });
};

/** Dims of one part: `"(k (q: r H | v: H)) d"` and `q` give `"(k r H) d"`. Throws InputError TABLE_INVALID. */
export function partDims(text: string, label: string): string {
  const parsed = parseDims(text);
  let found = false;
  const dims = rewrite(parsed.dims, (product) =>
    product.map((factor) => {
      const part = "parts" in factor ? factor.parts.find((p) => p.label === label) : undefined;
      if (part === undefined) return factor;
      found = true;
      return { product: part.product };
    }),
  );
  if (!found) throw tableError(`dims "${text}" have no part "${label}"`);
  return printDims(tidy({ ...parsed, dims }));
}

/** Dims without the axes that stand in the key. */
export function withoutKeyAxes(text: string, key: string): string {
  const inKey = new Set(Array.from(key.matchAll(/\{(\w+)/g), (place) => place[1]));
  const parsed = parseDims(text);
  const dims = rewrite(parsed.dims, (product) =>
    product.filter((factor) => !("axis" in factor && inKey.has(factor.axis))),
  );
  return printDims(tidy({ ...parsed, dims }));
}

/** Every `h two` as `two h`. Throws InputError TABLE_INVALID if there is none. */
export function halfSplitDims(text: string): string {
  const parsed = parseDims(text);
  let found = false;
  const is = (factor: Factor | undefined, axis: string) =>
    factor !== undefined && "axis" in factor && factor.axis === axis;
  const dims = rewrite(parsed.dims, (product) => {
    const at = product.findIndex((factor, i) => is(factor, "h") && is(product[i + 1], "two"));
    if (at < 0) return product;
    found = true;
    return product.with(at, { axis: "two" }).with(at + 1, { axis: "h" });
  });
  if (!found) throw tableError(`dims "${text}": RoPE pairs are written "h two"`);
  return printDims({ ...parsed, dims });
}

/** Every label with a prefix; dims without labels get the prefix as theirs. */
export function prefixedLabels(text: string, prefix: string): string {
  const { label, dims } = parseDims(text);
  const renamed = (name: string) => `${prefix}_${name}`;
  let found = label !== null;
  const inside = rewrite(dims, (product) =>
    product.map((factor) => {
      if (!("parts" in factor)) return factor;
      found = true;
      return { parts: factor.parts.map((part) => ({ ...part, label: renamed(part.label) })) };
    }),
  );
  return printDims({ label: label === null ? (found ? null : prefix) : renamed(label), dims: inside });
}
