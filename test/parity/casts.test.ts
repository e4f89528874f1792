// Parity of weights that were cast, and with goldens that were computed in a narrow type.
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { adapters } from "../../adapters/registry.ts";
import { openSafetensors } from "../../src/formats/safetensors/open.ts";
import { openModel } from "../../src/model/model.ts";
import { openCheckpoint } from "../../src/model/open.ts";
import { type ParityOptions, type ParityReport, runParity } from "../../src/parity/parity.ts";
import { parityDocument } from "../../src/report/views/parity.ts";
import { cast } from "../../src/views/cast.ts";
import { flipped, readState, type State, writeSafetensors } from "../helpers/checkpoints.ts";
import { converted } from "../helpers/converted.ts";
import { FIXTURES } from "../helpers/fixtures.ts";
import { fixtureCase } from "../helpers/models.ts";
import { scratch } from "../helpers/scratch.ts";

async function parity(
  a: string,
  b: string | undefined,
  options: Omit<ParityOptions, "a" | "b"> & { readonly config?: string } = {},
): Promise<ParityReport> {
  const { config, ...rest } = options;
  const [left, right] = [openCheckpoint(a), b === undefined ? undefined : openCheckpoint(b)];
  const open = (of: typeof left) => openModel(of, { adapters, config });
  try {
    const input = rest.golden === undefined ? { input: { kind: "random", tokens: 64 } as const } : {};
    return await runParity({ backend: "cpu", ...input, ...rest, a: open(left), b: right && open(right) });
  } finally {
    left.close();
    right?.close();
  }
}

const text = (report: ParityReport) => {
  const { headline, diagnoses = [], notes } = parityDocument(report);
  const reasons = diagnoses.flatMap(({ cause, evidence, fixes }) => `${cause} (${evidence}); ${fixes.join("; ")}`);
  return [headline, ...reasons, ...notes].join("\n");
};

async function castTo(from: string, dtype: string, to = "hf"): Promise<string> {
  const target = join(scratch(), dtype);
  await converted(from, target, { dtype: [dtype], to });
  return target;
}

function changed(folder: string, change: (state: State) => void): string {
  const state = readState(folder);
  change(state);
  return writeSafetensors(join(scratch(), "changed"), state, { config: join(folder, "config.json") });
}

describe("after a cast that was asked for", () => {
  const afterCast = true;

  it.each([
    ["llama3/fused-tied", "bf16"],
    ["qwen3_moe/untied", "f16"],
  ])("%s as %s: the KL is at the floor, whichever side is native", async (name, dtype) => {
    const { hf, native } = fixtureCase(name);
    const rounded = await castTo(hf, dtype);
    const plain = await parity(native, rounded, { config: hf });
    expect(plain).toMatchObject({ verdict: "fail", cause: { code: "ROUNDED" }, cast: { asked: false, exact: true } });
    expect(text(plain)).toMatch(/b is exactly the rounding of a, bit for bit: F32 → .*--after-cast.*--max-kl/s);
    for (const [a, b] of [
      [native, rounded],
      [hf, await castTo(hf, dtype, "torchtitan")],
    ] as const) {
      const report = await parity(a, b, { config: hf, afterCast });
      expect(report).toMatchObject({ verdict: "pass", findings: [], cast: { asked: true, exact: true } });
      expect(report.metrics.klMeanNats).toBeLessThan(1e-13);
      expect(text(report)).toMatch(/^the same.* after the cast F32 → (BF16|F16) \(\d+ tensors\)/);
    }
  });

  it("decoded FP8 is rounded once", async () => {
    const hf = join(FIXTURES, "deepseek_v3/fp8/hf");
    const target = join(scratch(), "plain");
    await converted(hf, target, { to: "hf", encoding: "none", dtype: ["f16"] });
    expect(await parity(hf, target, { afterCast })).toMatchObject({ verdict: "pass", cast: { exact: true } });
  });

  it("another fault on top fails, and is named", async () => {
    const { hf } = fixtureCase("llama3/split");
    const rounded = await castTo(hf, "bf16");
    const key = "model.layers.1.mlp.up_proj.weight";
    const stale = await parity(
      hf,
      changed(rounded, (state) => state.set(key, flipped(state.get(key)!))),
      { afterCast },
    );
    expect(stale).toMatchObject({ verdict: "fail", cast: { exact: false } });
    expect(stale.findings).toContainEqual({ code: "NOT_THE_CAST", message: `not the rounding of a: "${key}"` });
    expect(stale.cause?.tensors).toEqual([key]);
    const scaled = changed(rounded, (state) => {
      const { bytes, ...rest } = state.get(key)!;
      const twice = new Uint16Array(bytes.slice().buffer).map((word) => word + 0x80);
      state.set(key, { ...rest, bytes: new Uint8Array(twice.buffer) });
    });
    expect(await parity(hf, scaled, { afterCast })).toMatchObject({ cause: { code: "SCALED", tensors: [key] } });
    expect(await parity(hf, scaled)).toMatchObject({ cause: { code: "SCALED", tensors: [key] } });
  });

  it("the other way round says so, and a golden has no cast", async () => {
    const { hf, golden } = fixtureCase("llama3/split");
    const rounded = await castTo(hf, "bf16");
    expect(text(await parity(rounded, hf))).toMatch(
      /a is exactly the rounding of b.*the other way round with --after-cast/,
    );
    expect((await parity(rounded, hf, { afterCast })).verdict).toBe("fail");
    await expect(parity(hf, undefined, { golden, afterCast })).rejects.toMatchObject({ code: "PARITY_USAGE" });
  });
});

describe("goldens", () => {
  const { hf, golden } = fixtureCase("llama3/split");
  const written = (change: (state: State) => void): string => {
    const file = openSafetensors(golden);
    const state: State = new Map(
      [...file.tensors.values()].map(({ key, dtype, shape, byteLength }) => {
        const bytes = new Uint8Array(byteLength);
        file.read(key, 0, bytes);
        return [key, { dtype, shape, bytes }];
      }),
    );
    file.close();
    change(state);
    return join(writeSafetensors(join(scratch(), "golden"), state), "model.safetensors");
  };
  const logits = (state: State) => state.get("logits")!;

  it.each(["BF16", "F16"] as const)("in %s are known by their bits, or by their type", async (type) => {
    const wide = written((state) => {
      const { bytes, ...rest } = logits(state);
      state.set("logits", { ...rest, bytes: cast(cast(bytes, "F32", type), type, "F32") });
    });
    const narrow = written((state) => {
      const { bytes, shape } = logits(state);
      state.set("logits", { dtype: type, shape, bytes: cast(bytes, "F32", type) });
    });
    const report = await parity(hf, undefined, { golden: wide });
    expect(report).toMatchObject({ verdict: "fail", goldenRounding: { type }, cause: { code: "GOLDEN_ROUNDED" } });
    // Nothing but the logits was rounded here.
    expect(report.metrics.klMeanNats / report.goldenRounding!.klMeanNats!).toBeCloseTo(1, 3);
    expect(text(report)).toMatch(new RegExp(`golden was computed in ${type}.*dtype=torch.float32.*--max-kl`, "s"));
    expect((await parity(hf, undefined, { golden: narrow })).metrics).toEqual(report.metrics);
    const bounded = await parity(hf, undefined, { golden: wide, maxKlNats: 1e-4 });
    expect(bounded.verdict).toBe("pass");
    expect(text(bounded)).toContain(`as far as a golden computed in ${type} tells`);
  });

  it("of a batch of one, with ids in I32, are the same golden", async () => {
    const batch = written((state) => {
      for (const key of ["input_ids", "logits"]) {
        const { shape, ...rest } = state.get(key)!;
        state.set(key, { ...rest, shape: [1, ...shape] });
      }
      const { shape, bytes } = state.get("input_ids")!;
      const ids = Int32Array.from(new BigInt64Array(bytes.slice().buffer), Number);
      state.set("input_ids", { dtype: "I32", shape, bytes: new Uint8Array(ids.buffer) });
    });
    const report = await parity(hf, undefined, { golden: batch });
    expect(report).toMatchObject({ verdict: "pass", goldenRounding: null });
    expect(report.metrics).toEqual((await parity(hf, undefined, { golden })).metrics);
  });

  it("of another model are not excused by their type", async () => {
    const other = written((state) => {
      const { bytes, ...rest } = logits(state);
      const values = new Float32Array(bytes.slice().buffer).map((value) => 1.2 * value);
      state.set("logits", { ...rest, bytes: cast(cast(new Uint8Array(values.buffer), "F32", "BF16"), "BF16", "F32") });
    });
    const report = await parity(hf, undefined, { golden: other });
    expect(report).toMatchObject({ verdict: "fail", goldenRounding: { type: "BF16" } });
    expect(report.cause?.code).not.toBe("GOLDEN_ROUNDED");
  });
});
