/** One line of WGSL for each i < count. Unrolled by us: lavapipe is slow on arrays that are indexed at run time. */
export const unroll = (count: number, line: (i: number) => string): string =>
  Array.from({ length: count }, (_, i) => line(i)).join("\n");
