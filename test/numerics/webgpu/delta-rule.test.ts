// The chunked form on the device against the recurrence in f64: lengths around a chunk of 64 tokens, strong and weak decay.
import { afterEach, expect, it } from "vitest";
import type { Backend } from "../../../numerics/backend.ts";
import { createWebGpuBackend, type WebGpuOptions } from "../../../numerics/webgpu/backend.ts";
import type { GpuNode } from "../../../numerics/webgpu/node.ts";
import { describeGpu } from "../../helpers/gpu.ts";
import { bytesAsWeight } from "../../helpers/tensors.ts";
import { errorOf, type Graph, normal, values } from "../harness.ts";

/** 2 key heads of 12 channels, 6 value heads of 20. */
const [K, N, H, C] = [2, 6, 12, 20];

type Decay = (t: number) => number;
const decays: Readonly<Record<string, Decay>> = {
  none: () => 0,
  weak: (t) => -1e-3 * (t % 7),
  strong: (t) => -3 - (t % 5),
  /** Sums over a chunk of -2000, beside which the last steps' own decay has no digits left in f32. */
  "strong, then weak": (t) => (t % 64 < 40 ? -50.3 : -0.0137),
  "to nothing": (t) => (t % 9 === 4 ? -1e30 : -0.2),
  growing: (t) => 0.01 * (t % 3),
};

interface Data {
  readonly decay: Decay;
  /** Keys that are alike, which are written over and over. */
  readonly isRepeating?: boolean;
  /** A token whose key is NaN. */
  readonly spoiled?: number;
}

function graphOf(tokens: number, { decay, isRepeating = false, spoiled }: Data): Graph {
  const stored = (shape: readonly number[], floats: Float32Array) => bytesAsWeight(floats, shape, "F32");
  const key = isRepeating
    ? Float32Array.from({ length: tokens * K * H }, (_, i) => 1 + 0.01 * Math.sin(i))
    : normal(tokens * K * H, 2);
  if (spoiled !== undefined) key.fill(Number.NaN, spoiled * K * H, (spoiled + 1) * K * H);
  const gates = Float32Array.from({ length: tokens * N }, (_, i) => decay(Math.floor(i / N) + (i % N)));
  const rates = normal(tokens * N, 4).map((x) => 1 / (1 + Math.exp(-x - (isRepeating ? 4 : 0))));
  const [q, v] = [normal(tokens * K * H, 1), normal(tokens * N * C, 3)];
  return (op, put) => {
    const unit = (x: Float32Array) =>
      op.affine(op.rmsNorm(put(stored([tokens, K, H], x)), null, 1e-6 / H), 1 / Math.sqrt(H));
    const [g, beta] = [put(stored([tokens, N], gates)), put(stored([tokens, N], rates))];
    return op.deltaRule(unit(q), unit(key), put(stored([tokens, N, C], v)), g, beta);
  };
}

describeGpu("the gated delta rule in chunks", () => {
  let backend: Backend<GpuNode> | undefined;
  afterEach(() => backend?.close());
  const open = async (options: WebGpuOptions = {}) => {
    await backend?.close();
    backend = await createWebGpuBackend(options);
    return backend;
  };

  it.each(Object.entries(decays))("decay: %s", async (_name, decay) => {
    const b = await open();
    for (const tokens of [1, 7, 8, 63, 64, 65, 129, 200])
      expect(await errorOf(b, graphOf(tokens, { decay })), `${tokens} tokens`).toBeLessThan(2e-6);
  });

  it("keys that are alike", async () => {
    const b = await open();
    const graph = graphOf(150, { decay: (t) => -1e-3 * (t % 2), isRepeating: true });
    expect(await errorOf(b, graph)).toBeLessThan(1e-5);
  });

  it("rows shared out among invocations, as real GPUs have it", async () => {
    const gemmTile = { tile: [16, 16, 8], block: [4, 4] } as const;
    const b = await open({ traits: { family: "tile", gemmTile } });
    for (const tokens of [1, 33, 64, 150]) {
      for (const decay of [decays.weak!, decays["strong, then weak"]!])
        expect(await errorOf(b, graphOf(tokens, { decay })), `${tokens} tokens`).toBeLessThan(2e-6);
    }
  });

  it("the same bits head by head, where a kernel cannot see the chunks of all", async () => {
    const graph = graphOf(130, { decay: decays.weak! });
    const whole = await values(await open(), graph);
    // Three chunks of a head take 99 840 bytes.
    expect(await values(await open({ bindingBytes: 110_080 }), graph)).toEqual(whole);
  });

  it("a decay that comes a token late shows", async () => {
    const b = await open();
    const [found, other] = [0, 1].map((late) => graphOf(130, { decay: (t) => decays.strong!(t + late) }));
    const [x, y] = [await values(b, found!), await values(b, other!)];
    expect(Math.max(...x.map((value, i) => Math.abs(value - y[i]!)))).toBeGreaterThan(1e-3);
  });

  it("a NaN spoils what comes from it on, and nothing before", async () => {
    const b = await open();
    for (const spoiled of [5, 63, 70]) {
      const found = await values(b, graphOf(130, { decay: decays.weak!, spoiled }));
      const isSpoiled = Array.from({ length: 130 }, (_, t) => Number.isNaN(found[t * N * C]));
      expect(isSpoiled).toEqual(Array.from({ length: 130 }, (_, t) => t >= spoiled));
    }
  });
});
