// A page as tests look at it.

const VOID = new Set(["meta", "br", "hr", "img", "link", "input", "!doctype"]);

export interface Tag {
  readonly name: string;
  readonly attributes: ReadonlyMap<string, string>;
}

/** Every start tag. Throws where tags do not nest, or where an attribute is not quoted. */
export function tagsOf(html: string): Tag[] {
  const open: string[] = [];
  const tags: Tag[] = [];
  const inStyle = html.replace(/<style>[^<]*<\/style>/g, "<style></style>");
  for (const [whole, end, name = "", rest = "", self] of inStyle.matchAll(
    /<(\/?)([!a-zA-Z][\w-]*)((?:\s+[\w:-]+(?:="[^"<]*")?)*)\s*(\/?)>|</g,
  )) {
    if (name === "") throw new Error(`markup: ${inStyle.slice(inStyle.indexOf(whole), 60)}`);
    if (end === "/") {
      const last = open.pop();
      if (last !== name) throw new Error(`</${name}> closes <${last}>`);
      continue;
    }
    if (self !== "/" && !VOID.has(name)) open.push(name);
    const attributes = [...rest.matchAll(/([\w:-]+)(?:="([^"]*)")?/g)].map(
      ([, key, value]) => [key!, value ?? ""] as const,
    );
    tags.push({ name, attributes: new Map(attributes) });
  }
  if (open.length > 0) throw new Error(`never closed: ${open}`);
  return tags;
}

/** https://www.w3.org/TR/WCAG21/#dfn-contrast-ratio */
export function contrast(a: string, b: string): number {
  const luminance = (colour: string) =>
    [1, 3, 5]
      .map((at) => Number.parseInt(colour.slice(at, at + 2), 16) / 255)
      .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
      .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i]!, 0);
  const [dark, light] = [luminance(a), luminance(b)].toSorted((x, y) => x - y);
  return (light! + 0.05) / (dark! + 0.05);
}
