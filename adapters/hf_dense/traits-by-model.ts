import type { Traits } from "./traits.ts";
import { SERIES } from "./traits-series.ts";
import { SINGLE } from "./traits-single.ts";

/** By `model_type`. */
export const TRAITS: ReadonlyMap<string, Traits> = new Map<string, Traits>(Object.entries({ ...SERIES, ...SINGLE }));
