// Whether weights are equal bit for bit, which tells "equal" from "not seen".
import { type WeightBits, weightsNotRun } from "../seen/bits.ts";
import { count, type Examine, type ParityCheck, some } from "./check.ts";

const NAME = "weights are equal bit for bit, or what differs was run";

export const weights: Examine = ({ evidence: { coverage, golden }, findings }) => {
  const bits = coverage.weights;
  if (bits === null) {
    const detail = golden ? "a golden has logits alone" : "there is one side";
    return [{ name: NAME, status: "not checked", detail }];
  }
  return [
    ofBits(
      bits,
      findings.some(({ code }) => code === "WEIGHTS_NOT_RUN"),
    ),
    ...onOneSide(bits),
  ];
};

function ofBits(bits: WeightBits, isFailed: boolean): ParityCheck {
  const { tensors, equal, rounded, different } = bits;
  const equals = `${equal.toLocaleString("en-US")} of ${tensors.toLocaleString("en-US")}`;
  const all =
    rounded === 0 ? equals : `${equals}, ${rounded.toLocaleString("en-US")} more once rounded to the narrower type`;
  if (different.length === 0) return { name: NAME, status: "passed", detail: all };
  const notRun = weightsNotRun(bits);
  const rows = different.flatMap(({ key, notRun }) =>
    notRun?.why === "row" ? [`${key} (${rowsOf(notRun.rows)})`] : [],
  );
  const keys = different.map(({ key }) => key);
  const differ = `${count(different.length, "tensor")} ${different.length === 1 ? "differs" : "differ"} in bits`;
  const caveat = `${differ} (${some(keys, 1)})`;
  if (notRun.length > 0) {
    const detail = `${all}; not, and not run by this input: ${some(notRun)}`;
    return { name: NAME, status: isFailed ? "failed" : "not checked", detail, caveat };
  }
  if (rows.length > 0) return { name: NAME, status: "not checked", detail: `${all}; not: ${some(rows)}`, caveat };
  return { name: NAME, status: "passed", detail: `${all}; not: ${some(keys)}`, caveat };
}

const rowsOf = (rows: readonly number[]): string =>
  `${rows.length === 1 ? "row" : "rows"} ${some(rows.map(String))}, which no id of the input picks`;

/** Tensors without a counterpart were not compared with anything. */
function onOneSide({ onlyIn }: WeightBits): ParityCheck[] {
  const name = "both sides have the same tensors";
  const parts = (["a", "b"] as const).flatMap((side) => {
    const keys = onlyIn[side];
    return keys.length === 0 ? [] : [{ words: `${count(keys.length, "tensor")} in ${side} alone`, keys }];
  });
  if (parts.length === 0) return [{ name, status: "passed", detail: "by their Hugging Face keys" }];
  const detail = parts.map(({ words, keys }) => `${words}: ${some(keys)}`).join("; ");
  return [{ name, status: "not checked", detail, caveat: parts.map(({ words }) => words).join(", ") }];
}
