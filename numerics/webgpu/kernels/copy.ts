import type { Kernel } from "../kernel.ts";
import { flatIndex, flatSize } from "./elementwise.ts";

/** X is [outer, size, inner]; Y takes indices [begin, begin + taken) of the middle axis. */
export const slice: Kernel<"count" | "size" | "inner" | "begin" | "taken"> = {
  key: "slice",
  reads: { X: "f32" },
  writes: "f32",
  params: { count: "u32", size: "u32", inner: "u32", begin: "u32", taken: "u32" },
  size: flatSize,
  body: () => `${flatIndex("p.count")}
let block = p.taken * p.inner;
Y[i] = X[(i / block * p.size + p.begin) * p.inner + i % block];`,
};

/** Rows of `width` elements become rows of `padded` ≥ `width` elements, zeros behind. */
export const pad: Kernel<"count" | "width" | "padded"> = {
  key: "pad",
  reads: { X: "f32" },
  writes: "f32",
  params: { count: "u32", width: "u32", padded: "u32" },
  size: flatSize,
  body: () => `${flatIndex("p.count")}
let c = i % p.padded;
var x = 0.0f;
if (c < p.width) { x = X[i / p.padded * p.width + c]; }
Y[i] = x;`,
};

/** Y[t] = X[IDS[t]], rows of `channels` elements. */
export const gather: Kernel<"count" | "channels"> = {
  key: "gather",
  reads: { X: "f32", IDS: "u32" },
  writes: "f32",
  params: { count: "u32", channels: "u32" },
  size: flatSize,
  body: () => `${flatIndex("p.count")}
Y[i] = X[IDS[i / p.channels] * p.channels + i % p.channels];`,
};

/** Y[t, column + c] = X[t, c]: rows of `width` elements go into rows of `pitch`; the rest of Y stays. */
export const place: Kernel<"count" | "width" | "pitch" | "column"> = {
  key: "place",
  reads: { X: "f32" },
  writes: "f32",
  params: { count: "u32", width: "u32", pitch: "u32", column: "u32" },
  size: flatSize,
  body: () => `${flatIndex("p.count")}
Y[i / p.width * p.pitch + p.column + i % p.width] = X[i];`,
};

/** Y[r] = X[IDS[r]] · W[r]. */
export const takeRows: Kernel<"count" | "channels"> = {
  key: "take-rows",
  reads: { X: "f32", IDS: "u32", W: "f32" },
  writes: "f32",
  params: { count: "u32", channels: "u32" },
  size: flatSize,
  body: () => `${flatIndex("p.count")}
let r = i / p.channels;
Y[i] = X[IDS[r] * p.channels + i % p.channels] * W[r];`,
};

/** Y[IDS[r]] += X[r] · W[r]; no id is there twice. */
export const addRows: Kernel<"count" | "channels"> = {
  key: "add-rows",
  reads: { X: "f32", IDS: "u32", W: "f32" },
  writes: "f32",
  params: { count: "u32", channels: "u32" },
  size: flatSize,
  body: () => `${flatIndex("p.count")}
let r = i / p.channels;
Y[IDS[r] * p.channels + i % p.channels] += X[i] * W[r];`,
};
