import { SERIES } from "./series.ts";
import { SINGLE } from "./single.ts";
import type { Traits } from "./traits.ts";

/** By `model_type`. */
export const TRAITS: ReadonlyMap<string, Traits> = new Map<string, Traits>(Object.entries({ ...SERIES, ...SINGLE }));
