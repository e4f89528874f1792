// What backends are like, known before one is opened.

export type BackendName = "cpu" | "wasm" | "webgpu";

/** What the numbers of a backend are, and what it takes beside the weights and activations of a graph. */
export interface Capabilities {
  /** Bytes of one value of an activation: f64 or f32. */
  readonly valueBytes: 4 | 8;
  /** Whether it is the reference, which rounds so little that any difference is one of the mathematics. */
  readonly exact: boolean;
  /** A started Node process with this program loaded, and what this backend adds: threads, or a driver and its kernels. */
  readonly processBytes: number;
  /** Weights that are held at a time, at most. */
  readonly windowBytes: number;
  /** 2 where the buffers of attention and of feed-forward, which take turns, are both kept; else 1. */
  readonly activationSets: 1 | 2;
}

/** No backend holds more bytes of weights at a time; how a window is cut differs. */
const WINDOW_BYTES = 64 << 20;

export const CAPABILITIES: Readonly<Record<BackendName, Capabilities>> = {
  cpu: { valueBytes: 8, exact: true, processBytes: 120e6, windowBytes: WINDOW_BYTES, activationSets: 2 },
  wasm: { valueBytes: 4, exact: false, processBytes: 280e6, windowBytes: WINDOW_BYTES, activationSets: 2 },
  webgpu: { valueBytes: 4, exact: false, processBytes: 400e6, windowBytes: WINDOW_BYTES, activationSets: 1 },
};
