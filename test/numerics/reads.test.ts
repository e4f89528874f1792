// What a plan says of an input: which weights it reads as a whole, by rows, or by experts.
import { describe, expect, test } from "vitest";
import { planForward } from "../../numerics/shapes/plan.ts";
import { fixtureCases } from "../helpers/fixtures.ts";
import { hfSide } from "../helpers/models.ts";

const ids_T = [1, 2, 3, 2];

function readsOf(name: string) {
  const { source, family } = hfSide(name);
  const { tensors } = source;
  const has = (key: string) => tensors.has(key);
  const plan = planForward(family.hf.forward(), (key) => tensors.get(key)!, { ids_T, has });
  return { ...plan, tensors };
}

test("ids pick rows of an embedding; a tied one is read as a whole, too, by the head", () => {
  const untied = readsOf("llama3/split").reads;
  expect([...untied.picked]).toEqual([["model.embed_tokens.weight", new Set([1, 2, 3])]]);
  expect(untied.whole).not.toContain("model.embed_tokens.weight");
  expect(untied.whole).toContain("lm_head.weight");
  expect(readsOf("qwen3_moe/tied-fused-bf16").reads.whole).toContain("model.embed_tokens.weight");
});

test("windows and chunks are those of the attentions", () => {
  expect(readsOf("gpt_oss/bf16").reads.masks.map(({ kind }) => kind)).toContain("window");
  expect(readsOf("llama4/split").reads.masks.map(({ kind }) => kind)).toContain("chunk");
  expect(new Set(readsOf("llama3/split").reads.masks.map(({ kind }) => kind))).toEqual(new Set(["causal"]));
});

describe.each(fixtureCases.map(({ name }) => name).filter((name) => /moe|deepseek|gpt_oss|llama4|kimi/.test(name)))(
  "%s",
  (name) => {
    test("experts read parts that no other expert reads, and nothing of them is read otherwise", () => {
      const { reads, steps, tensors } = readsOf(name);
      expect(reads.mixtures.length).toBeGreaterThan(0);
      const seen = new Set<string>();
      for (const part of reads.mixtures.flatMap(({ experts }) => experts.flat())) {
        expect(reads.whole).not.toContain(part.key);
        const id = `${part.key} ${part.begin}`;
        expect(seen).not.toContain(id);
        seen.add(id);
        expect(part.end).toBeLessThanOrEqual(tensors.get(part.key)!.shape[0]!);
      }
      for (const { experts } of reads.mixtures) for (const own of experts) expect(own.length).toBeGreaterThan(1);
      const all = [...reads.whole, ...reads.picked.keys(), ...[...seen].map((id) => id.split(" ")[0]!)];
      expect(new Set(all)).toEqual(new Set(steps.flatMap(({ weights }) => weights)));
    });
  },
);
