import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { adapters } from "../../adapters/registry.ts";
import type { Adapter } from "../../src/family/adapter.ts";
import type { Family } from "../../src/family/family.ts";
import { openCheckpoint } from "../../src/model/open.ts";
import { resolveSide, type SideOptions } from "../../src/model/sides.ts";
import { roundtrip } from "../../src/verify/roundtrip.ts";
import { flipped, readState, writeDcp } from "../helpers/checkpoints.ts";
import { fixture, tableCases } from "../helpers/fixtures.ts";
import { scratch } from "../helpers/scratch.ts";

async function trip(path: string, config?: string, options: Partial<SideOptions> = {}) {
  const checkpoint = openCheckpoint(path);
  try {
    return await roundtrip(resolveSide(checkpoint, { adapters, config, ...options }));
  } finally {
    checkpoint.close();
  }
}

describe.each(tableCases)("$name", (one) => {
  it.each(Object.entries(one.hfs))("%s comes back, file by file", async (_, hf) => {
    const result = await trip(hf);
    expect(result.differences).toEqual([]);
    expect(result.verdict).toBe("pass");
    expect(result.files.length).toBeGreaterThan(0);
    expect(result.files.every(({ same }) => same)).toBe(true);
    expect(result.hashes).toHaveLength(result.tensors);
  });

  it.each(Object.entries(one.natives))("%s comes back, tensor by tensor", async (_, native) => {
    const result = await trip(native, one.hf);
    expect(result.differences).toEqual([]);
    // A model that was cast whole has its load-balancing buffer in bf16; it is made again as torchtitan makes it
    const cast = result.notes.filter((note) => note.includes("BF16 in a, F32 in b; the values are equal"));
    expect(cast.length > 0).toBe(one.name === "gpt_oss/torchtitan-0.2");
    expect(result.layout).toBe(one.layout);
  });
});

describe("what must fail", () => {
  const { hf } = fixture("llama3/split");

  /** A family whose table is another one whenever it is asked: right there, wrong on the way back. */
  function fickle(adapter: Adapter): Adapter {
    let asked = 0;
    const open = (json: Parameters<Adapter["open"]>[0], where: string): Family => {
      const family = adapter.open(json, where);
      const [first, ...others] = family.layouts;
      const rules = () => {
        const all = first.rules();
        if (asked++ === 0) return all;
        return all.map((rule) =>
          rule.kind === "map" && rule.native.some(({ key }) => key.endsWith("w1.weight"))
            ? { ...rule, hf: rule.hf.map((term) => ({ ...term, key: term.key.replace("gate", "up") })) }
            : rule.kind === "map" && rule.native.some(({ key }) => key.endsWith("w3.weight"))
              ? { ...rule, hf: rule.hf.map((term) => ({ ...term, key: term.key.replace("up", "gate") })) }
              : rule,
        );
      };
      return { ...family, layouts: [{ ...first, rules }, ...others] };
    };
    return { ...adapter, open };
  }

  it("finds gate and up swapped on one of the two ways", async () => {
    const checkpoint = openCheckpoint(hf);
    const side = resolveSide(checkpoint, { adapters });
    const wrong = fickle(side.adapter);
    const result = await roundtrip({ ...side, adapter: wrong, family: wrong.open(side.config.json, "config.json") });
    checkpoint.close();
    expect(result.verdict).toBe("fail");
    expect(result.differences.map(({ key }) => key).sort()).toEqual(
      [0, 1].flatMap((l) => ["gate", "up"].map((name) => `model.layers.${l}.mlp.${name}_proj.weight`)),
    );
    expect(result.differences[0]!.detail).toMatch(/elements differ, first at \[0, 0\]/);
  });

  it("refuses a stale tied head", async () => {
    const tied = fixture("llama3/fused-tied");
    const state = readState(tied.native);
    state.set("lm_head.weight", flipped(state.get("lm_head.weight")!));
    const path = writeDcp(join(scratch(), "native"), state);
    await expect(trip(path, tied.hf)).rejects.toThrow(expect.objectContaining({ code: "TIE_BROKEN" }));
  });

  it("refuses a way that does not lead back", async () => {
    const checkpoint = openCheckpoint(hf);
    await expect(roundtrip(resolveSide(checkpoint, { adapters }), { to: "hf" })).rejects.toThrow(
      /no way there and back/,
    );
    checkpoint.close();
  });
});
