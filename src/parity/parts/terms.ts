// What the parts of a run have to agree on. Machines see one model under paths of their own: headers, the config's mathematics and a
// sample of values tell it, times and inodes do not.
import { createHash } from "node:crypto";
import { byteLengthOf } from "../../base/dtype.ts";
import { VERSION } from "../../base/version.ts";
import { type PlanDocument, planDocumentOf, type Term } from "../../output/parts/documents.ts";
import type { By } from "../choices.ts";
import type { Run } from "../forward/run.ts";
import type { Golden } from "../inputs/golden.ts";
import type { ResolvedInputs } from "../inputs/resolved.ts";
import type { ParityModel, SideWeights } from "../side.ts";
import type { Asked } from "./plan.ts";

/** Tensors of a side of which some bytes are looked at: another step of a training differs in all of them. */
const SAMPLED = 64;
const SAMPLE_BYTES = 256;
const NOT_GIVEN = "not given";
const BY = "divided by";

/** What parts of a plan are of: `tokens` or `layers`. */
export const byOf = ({ terms }: PlanDocument): string => terms.find(({ name }) => name === BY)?.value ?? "";

export interface TermsOf {
  readonly by: By;
  readonly parts: number;
  readonly asked: Asked;
  readonly into: string;
}

export function planDocument(run: Run, { by, parts, asked, into }: TermsOf): PlanDocument {
  const { sides, passes, golden, inputs, upstream, computedOn } = run;
  const versions = upstream.versions.map(({ project, version }) => `${project} ${version}`).join(", ");
  const terms = [
    ...Object.entries({
      version: VERSION,
      [BY]: by,
      "number of parts": String(parts),
      "--backend": computedOn.name,
      "--upstream": versions,
      "--max-kl": asked.maxKlNats === null ? NOT_GIVEN : String(asked.maxKlNats),
      "--min-top1": asked.minTop1 === null ? NOT_GIVEN : String(asked.minTop1),
      "--routing": asked.routing,
      "--accept-known": asked.acceptances.length === 0 ? NOT_GIVEN : JSON.stringify(asked.acceptances),
      "--localise": asked.localise ? "given" : NOT_GIVEN,
      inputs: inputsHash(inputs),
      ...(golden === null ? {} : { golden: goldenHash(golden) }),
    }).map(([name, value]): Term => ({ name, value, counts: true })),
    ...sides.flatMap((side, i) => termsOfSide(side, passes.sides[i]!, i === 0 ? "a" : "b")),
  ];
  return planDocumentOf(into, parts, terms);
}

function termsOfSide({ checkpoint, family, layout }: ParityModel, weights: SideWeights, name: "a" | "b"): Term[] {
  const { source } = weights.view.model;
  const headers = [...source.tensors.values()].map(({ key, dtype, shape }) => [key, dtype, shape]);
  const counted = {
    [`layout of ${name}`]: `${family.family}, ${layout.name}, ${checkpoint.format}`,
    [`headers of ${name}`]: sha256(JSON.stringify(headers)),
    [`values of ${name}`]: valuesHash(source),
    [`config of ${name}`]: sha256(JSON.stringify(family.math())),
  };
  return [
    ...Object.entries(counted).map(([term, value]) => ({ name: term, value, counts: true })),
    { name: `path of ${name}`, value: checkpoint.path, counts: false },
  ];
}

/** Some bytes in the middle of tensors all over. */
function valuesHash({ tensors, read }: SideWeights["view"]["model"]["source"]): string {
  const all = [...tensors.values()];
  const hash = createHash("sha256");
  const count = Math.min(SAMPLED, all.length);
  for (let i = 0; i < count; i++) {
    const { key, dtype, shape } = all[Math.floor((i * all.length) / count)]!;
    const byteLength = byteLengthOf(dtype, shape);
    const bytes = new Uint8Array(Math.min(SAMPLE_BYTES, byteLength));
    // From an element's beginning: what is decoded is read by elements.
    read(key, 8 * Math.floor((byteLength - bytes.length) / 16), bytes);
    hash.update(key).update(bytes);
  }
  return hash.digest("hex");
}

function goldenHash({ ids, vocab, rows, taps }: Golden): string {
  const hash = createHash("sha256").update(JSON.stringify([ids, vocab, [...taps.keys()]]));
  for (const row of [0, ids.length >> 1, ids.length - 1]) hash.update(bytesOf(rows(row, row + 1)));
  for (const tap of taps.keys()) hash.update(bytesOf(taps.get(tap)!.subarray(0, SAMPLE_BYTES)));
  return hash.digest("hex");
}

function inputsHash(inputs: readonly ResolvedInputs[]): string {
  const hash = createHash("sha256");
  for (const { input } of inputs) {
    hash.update(JSON.stringify([input.ids_T, input.positions_T3 ?? null, input.images?.grids ?? null]));
    if (input.images) hash.update(bytesOf(input.images.pixels));
  }
  return hash.digest("hex");
}

const bytesOf = ({ buffer, byteOffset, byteLength }: Float32Array | Float64Array): Uint8Array =>
  new Uint8Array(buffer, byteOffset, byteLength);

const sha256 = (text: string): string => createHash("sha256").update(text, "utf8").digest("hex");
