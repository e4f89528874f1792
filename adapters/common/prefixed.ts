import type { MathFacts } from "../../src/family/family.ts";

/** Fields of a part of the model among those of the whole: `dim` of prefix `vision` becomes `visionDim`. */
export const prefixed = (prefix: string, fields: MathFacts): MathFacts =>
  Object.fromEntries(
    Object.entries(fields).map(([name, value]) => [`${prefix}${name.charAt(0).toUpperCase()}${name.slice(1)}`, value]),
  );
