// Experts that the native side stacks. Files on the Hub have a tensor per expert. transformers 5 joins them when it loads,
// so what it holds at run time is stacked, too: state_dict(), what FSDP2 and DCP save of it, and
// save_pretrained(save_original_format=False). It reads both, and each layer may be in a form of its own.
//   huggingface/transformers@v5.23.0:src/transformers/conversion_mapping.py#L1297, "qwen2_moe"
import { concat, type Dims, inOrder, type MapRule, rename, stackExperts } from "../../src/table/rule.ts";

/** Name of the order of files that hold what transformers 5 holds at run time. */
export const RUN_TIME = "transformers-5";

/** `w1` is gate, `w3` is up. Axes: e experts, d model, g ffn of an expert. */
// biome-ignore format: a table
export const expertStacks = (native: Readonly<Record<"w1" | "w2" | "w3", string>>, hf: string): MapRule[] =>
  inOrder(RUN_TIME,
    [
      perExpert(native.w1,                          `${hf}.{e}.gate_proj.weight`,  "e g d"),
      perExpert(native.w2,                          `${hf}.{e}.down_proj.weight`,  "e d g"),
      perExpert(native.w3,                          `${hf}.{e}.up_proj.weight`,    "e g d"),
    ],
    [
      concat({ gate: native.w1, up: native.w3 },    `${hf}.gate_up_proj`,          "e (gate: g | up: g) d"),
      rename<string, string>(native.w2,             `${hf}.down_proj`,             "e d g"),
    ]);

const perExpert = (native: string, hf: string, dims: Dims): MapRule => stackExperts<string, string>(native, hf, dims);
