// Options of a parity run that have a few values: apart from what runs, so that `--help` need not load it.

/** `auto` takes WebGPU on a hardware adapter, else the faster of WASM and an adapter that computes on the CPU. */
export const BACKEND_CHOICES = ["auto", "webgpu", "wasm", "cpu"] as const;
export type BackendChoice = (typeof BACKEND_CHOICES)[number];

/** Whether the second side takes the experts that the first one chose. */
export const ROUTING_CHOICES = ["free", "pinned"] as const;
export type RoutingChoice = (typeof ROUTING_CHOICES)[number];

/** `--accept-known`, `--accept-known=CODE`, `--accept-known=CODE=KL`. */
export interface Acceptance {
  /** Null for all that the family has measured as small. */
  readonly code: string | null;
  /** The most that it may move the mean KL by, in nats per token. */
  readonly klNats?: number | undefined;
}

/** What parts of a run are of. */
export const BY_CHOICES = ["tokens", "layers"] as const;
export type By = (typeof BY_CHOICES)[number];
