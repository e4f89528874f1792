// The library that draws and the document that it draws into: 0.2 s to load, so only a page that has a picture does.
import { createRequire } from "node:module";

/** As much of the DOM as is used: Node.js has none of its own, and its types would be names that only seem to be there. */
export interface SvgElement {
  textContent: string | null;
  readonly outerHTML: string;
  readonly attributes: Iterable<{ readonly name: string; readonly value: string }>;
  setAttribute(name: string, value: string): void;
  removeAttribute(name: string): void;
  querySelectorAll(selectors: string): Iterable<SvgElement>;
  prepend(child: SvgElement): void;
  remove(): void;
}

interface Library {
  readonly plot: typeof import("@observablehq/plot");
  readonly document: { createElementNS(namespace: string, name: string): SvgElement };
}

let loaded: Library | undefined;

/** At once, and not by `import()`: whoever renders a page need not wait for it. Node.js requires modules since 20.19. */
export function library(): Library {
  if (loaded === undefined) {
    const require = createRequire(import.meta.url);
    const plot: Library["plot"] = require("@observablehq/plot");
    const { parseHTML }: typeof import("linkedom") = require("linkedom");
    loaded = { plot, document: parseHTML("<!doctype html><html><body></body></html>").document };
  }
  return loaded;
}
