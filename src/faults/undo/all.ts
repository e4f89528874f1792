// Every known fault that can be undone without the right weights, the likeliest first.
import { axes } from "./axes.ts";
import { experts } from "./experts.ts";
import { fused } from "./fused.ts";
import { orders } from "./order.ts";
import { rope } from "./rope.ts";
import { swaps } from "./swaps.ts";
import type { Undoing } from "./undoing.ts";
import { values } from "./values.ts";

export const UNDOINGS: readonly Undoing[] = [...rope, ...swaps, ...experts, ...fused, ...values, ...axes, ...orders];
