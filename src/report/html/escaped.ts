import { visible } from "../escape.ts";
import { clipped, type Limits } from "../fit.ts";

/** A browser takes a moment for more; an artifact store keeps it as it is. */
export const LIMITS: Limits = { rows: 5_000, text: 10_000, bytes: 1_000_000 };

const ENTITIES: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
};

/** Text from wherever it may be, as content or in an attribute. */
export const escaped = (name: string): string =>
  visible(clipped(name, LIMITS.text)).replace(/[&<>"']/g, (c) => ENTITIES[c] ?? c);
