// One hash for one meaning: what is computed counts, not how a config spells it.
import { describe, expect, test } from "vitest";
import { mathematicsHash } from "../../src/family/mathematics.ts";
import { familyOf, fixtureCase } from "../helpers/models.ts";

const hashOf = (change = {}, name = "llama3/split") => mathematicsHash(familyOf(fixtureCase(name), change));

describe("the hash of a config's mathematics", () => {
  test("is that of every config that computes the same", () => {
    const same = hashOf();
    expect(same).toMatch(/^[0-9a-f]{64}$/);
    expect(hashOf({ transformers_version: "4.40.0", torch_dtype: "float32", eos_token_id: 3 })).toBe(same);
    expect(hashOf({ max_position_embeddings: 4096 })).toBe(same);
  });

  test.each([
    { rms_norm_eps: 2e-5 },
    { rope_parameters: { rope_theta: 5e5, rope_type: "default" } },
    { num_attention_heads: 12, head_dim: 8 },
  ])("is another where %j", (change) => {
    expect(hashOf(change)).not.toBe(hashOf());
  });

  test("is another for another family", () => {
    expect(hashOf({}, "qwen3/split")).not.toBe(hashOf());
  });
});
