// What a thread computes: parts of matrix products, of attention and of pointwise maps, with the kernels of simd-kernels.ts.

/** Addresses and strides are bytes in the memory that all threads share; arrays are shared as well. */
export interface LinearJob {
  readonly kind: "linear";
  /** x in blocks of 256 columns (the last one may be narrower), each of all rows, padded to a multiple of 6. */
  readonly x: number;
  readonly rows: number;
  /** Rows of W as stored, `elementBytes` per element (2: bf16, 4: f32), padded to a multiple of 8 rows. */
  readonly weights: number;
  readonly elementBytes: 2 | 4;
  /** Elements of a row, a multiple of 8. */
  readonly depth: number;
  /** Products that are added in one chain, a multiple of 8. */
  readonly chain: number;
  /** Rows of W [begin, end) of this thread; `begin` is a multiple of 8. */
  readonly begin: number;
  readonly end: number;
  readonly scratch: number;
  readonly out: Float32Array;
  /** Elements in a row of `out`; row and column of it that the first row of x and of W make. */
  readonly outWidth: number;
  readonly outRow: number;
  readonly outColumn: number;
  /** One value per column of `out`. */
  readonly bias: Float32Array | null;
}

/** See numerics/js/ops/attention.ts. */
export interface AttentionJob {
  readonly kind: "attention";
  readonly q: Float32Array;
  readonly k: Float32Array;
  readonly v: Float32Array;
  readonly sinks: Float32Array | null;
  readonly scale: number;
  readonly softcap: number | null;
  /** Token t sees tokens [first[t], last[t]). */
  readonly first: Uint32Array;
  readonly last: Uint32Array;
  /** Tokens, query heads, key heads, channels of queries and of values. */
  readonly sizes: readonly [number, number, number, number, number];
  /** Query heads [begin, end) of this thread. */
  readonly begin: number;
  readonly end: number;
  readonly scratch: number;
  readonly out: Float32Array;
}

/** out = f(a), or a ∘ b, elements [begin, end). */
export interface PointwiseJob {
  readonly kind: "pointwise";
  readonly f: FastPointwise | "mul" | "add";
  readonly a: Float32Array;
  readonly b: Float32Array | null;
  readonly out: Float32Array;
  readonly begin: number;
  readonly end: number;
  readonly scratch: number;
}

/** Functions that have a kernel. */
export const FAST_POINTWISE = ["silu", "sigmoid", "geluTanh"] as const;
export type FastPointwise = (typeof FAST_POINTWISE)[number];

export type Job = LinearJob | AttentionJob | PointwiseJob;

/** Products that are added in one chain, as on WebGPU: see gemm-subgroup.ts. */
export const CHAIN = 256;
/** Columns of a block of x: rows a power of two apart, and further than this, would contend for the same cache lines. */
export const X_BLOCK = 256;
/** Queries whose scores are in memory at a time. */
export const QUERY_BLOCK = 48;

/** Elements that a pointwise map takes at a time, a multiple of four. */
export const CHUNK = 4096;
export const pointwiseScratch = 8 * CHUNK;

/** What a thread is made with. */
export interface Workshop {
  readonly module: WebAssembly.Module;
  readonly memory: WebAssembly.Memory;
  readonly xBlock: number;
  readonly queryBlock: number;
  /** Products that attention adds in one chain. */
  readonly attentionChain: number;
  readonly chunk: number;
}

/** Bytes that a thread needs besides x and W. */
export const linearScratch = (depth: number, rows: number): number => 32 * (depth + 6 * Math.ceil(rows / 6));

export function attentionScratch([T, , , H, C]: AttentionJob["sizes"]): number {
  const [tokens, depth, channels] = [T, H, C].map((n) => 8 * Math.ceil(n / 8));
  const queries = QUERY_BLOCK * Math.ceil(T / QUERY_BLOCK);
  return 4 * (queries * depth! + 2 * tokens! * depth! + tokens! * channels! + QUERY_BLOCK * (tokens! + 8));
}

/**
 * Makes what runs jobs. It names nothing outside itself: a worker gets its text, so that no file has to be found beside
 * a bundle.
 */
export function jobRunner({ module, memory, xBlock, queryBlock, attentionChain, chunk }: Workshop): (job: Job) => void {
  const kernels = new WebAssembly.Instance(module, { host: { memory } }).exports as Record<
    string,
    (...operands: number[]) => number
  >;
  const [multiply, pack2, pack4] = [kernels.multiply!, kernels.pack2!, kernels.pack4!];
  const [clear, largest, softenRow] = [kernels.clear!, kernels.largest!, kernels.soften!];
  const padded = (n: number) => 8 * Math.ceil(n / 8);
  const floats = (address: number, length: number) => new Float32Array(memory.buffer, address, length);

  /** y[t, o] += Σ x[t, k] · panel[k, o] in chains; `y` holds zeros before. */
  const product = (
    x: number,
    xStride: number,
    panel: number,
    y: number,
    yStride: number,
    depth: number,
    chain: number,
    tiles: number,
  ) => {
    for (let k = 0; k < depth; k += chain) {
      multiply(x + 4 * k, xStride, panel + 32 * k, y, yStride, Math.min(chain, depth - k), tiles);
    }
  };

  function linear(job: LinearJob): void {
    const { rows, depth, bias, out, outWidth, elementBytes } = job;
    const pack = elementBytes === 2 ? pack2 : pack4;
    const tiles = Math.ceil(rows / 6);
    const panel = job.scratch;
    const y = panel + 32 * depth;
    const tile = floats(y, 48 * tiles);
    const stride = elementBytes * depth;
    for (let o = job.begin; o < job.end; o += 8) {
      pack(job.weights + o * stride, stride, panel, depth);
      clear(y, 192 * tiles);
      for (let k = 0; k < depth; k += xBlock) {
        const width = Math.min(xBlock, depth - k);
        product(job.x + 24 * tiles * k, 4 * width, panel + 32 * k, y, 32, width, job.chain, tiles);
      }
      const count = Math.min(8, job.end - o);
      const column = job.outColumn + o;
      for (let t = 0; t < rows; t++) {
        const at = (job.outRow + t) * outWidth + column;
        if (bias === null) for (let i = 0; i < count; i++) out[at + i] = tile[8 * t + i]!;
        else for (let i = 0; i < count; i++) out[at + i] = tile[8 * t + i]! + bias[column + i]!;
      }
    }
  }

  function attention(job: AttentionJob): void {
    const { q, k, v, out, first, last, sizes } = job;
    const [T, N, K, H, C] = sizes;
    const [tokens, depth, channels] = [padded(T), padded(H), padded(C)];
    const queries = queryBlock * Math.ceil(T / queryBlock);
    const stride = 4 * depth;
    const keyRows = job.scratch;
    const keys = keyRows + tokens * stride;
    const values = keys + tokens * stride;
    const rows = values + 4 * tokens * channels;
    const scores = rows + queries * stride;
    const mixed = scores + 4 * queryBlock * tokens;
    const tile = floats(mixed, 8 * queryBlock);

    /** Heads of [T, heads, width] one by one: rows of `pitch` elements, zeros behind and below. */
    const takeHead = (from: Float32Array, heads: number, head: number, address: number, all: number) => {
      const to = floats(address, all * depth);
      if (depth !== H || all !== T) to.fill(0);
      for (let t = 0; t < T; t++) to.set(from.subarray((t * heads + head) * H, (t * heads + head + 1) * H), t * depth);
    };
    const takeKeyHead = (head: number) => {
      takeHead(k, K, head, keyRows, tokens);
      for (let u = 0; u < tokens; u += 8) pack4(keyRows + u * stride, stride, keys + u * stride, depth);
      const panels = floats(values, tokens * channels);
      if (tokens !== T || channels !== C) panels.fill(0);
      for (let u = 0; u < T; u++) {
        const at = (u * K + head) * C;
        for (let c = 0; c < C; c++) panels[((c >> 3) * tokens + u) * 8 + (c & 7)] = v[at + c]!;
      }
    };

    /** Scores [from, to) of a row become weights of its softmax but for their sum, whose inverse is returned. */
    const soften = (address: number, width: number, from: number, to: number, sink: number | null): number => {
      const { softcap } = job;
      const row = floats(address, width);
      row.fill(Number.NEGATIVE_INFINITY, 0, from);
      row.fill(Number.NEGATIVE_INFINITY, to);
      let scale = job.scale;
      if (softcap !== null) {
        for (let u = from; u < to; u++) row[u] = softcap * Math.tanh((row[u]! * scale) / softcap);
        scale = 1;
      }
      const shift = Math.max(sink ?? Number.NEGATIVE_INFINITY, scale * largest(address, width));
      const total = softenRow(address, width, scale, shift) + (sink === null ? 0 : Math.exp(sink - shift));
      row.fill(0, 0, from);
      row.fill(0, to);
      return 1 / total;
    };

    let held = -1;
    for (let n = job.begin; n < job.end; n++) {
      const keyHead = Math.floor(n / (N / K));
      if (keyHead !== held) takeKeyHead(keyHead);
      held = keyHead;
      takeHead(q, N, n, rows, queries);
      for (let t0 = 0; t0 < T; t0 += queryBlock) {
        const t1 = Math.min(T, t0 + queryBlock);
        const begin = first[t0]! & ~7;
        const width = padded(last[t1 - 1]!) - begin;
        const tiles = Math.ceil((t1 - t0) / 6);
        clear(scores, 4 * queryBlock * width);
        for (let u = 0; u < width; u += 8) {
          const panel = keys + (begin + u) * stride;
          product(rows + t0 * stride, stride, panel, scores + 4 * u, 4 * width, depth, attentionChain, tiles);
        }
        const inverse = new Float64Array(t1 - t0);
        for (let t = t0; t < t1; t++) {
          const row = scores + 4 * (t - t0) * width;
          inverse[t - t0] = soften(row, width, first[t]! - begin, last[t]! - begin, job.sinks ? job.sinks[n]! : null);
        }
        for (let c = 0; c < C; c += 8) {
          clear(mixed, 32 * queryBlock);
          product(scores, 4 * width, values + 4 * (c * tokens + begin * 8), mixed, 32, width, attentionChain, tiles);
          const count = Math.min(8, C - c);
          for (let t = t0; t < t1; t++) {
            const at = (t * N + n) * C + c;
            for (let i = 0; i < count; i++) out[at + i] = tile[8 * (t - t0) + i]! * inverse[t - t0]!;
          }
        }
      }
    }
  }

  function pointwise({ f, a, b, out, begin, end, scratch }: PointwiseJob): void {
    const [here, beside] = [floats(scratch, chunk), floats(scratch + 4 * chunk, chunk)];
    for (let at = begin; at < end; at += chunk) {
      const stop = Math.min(end, at + chunk);
      const count = 4 * Math.ceil((stop - at) / 4);
      here.set(a.subarray(at, stop));
      if (b === null) kernels[f]!(scratch, count);
      else {
        beside.set(b.subarray(at, stop));
        kernels[f]!(scratch, scratch + 4 * chunk, count);
      }
      out.set(here.subarray(0, stop - at), at);
    }
  }

  return (job) => {
    if (job.kind === "linear") linear(job);
    else if (job.kind === "attention") attention(job);
    else pointwise(job);
  };
}
