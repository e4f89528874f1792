// Makes one part of a target, on any machine and in any order: its bytes, its share of hashes and checks, and at last the document
// that says so. Nothing is asked of other parts but that they are of the same plan.
import { resolve } from "node:path";
import { UsageError } from "../../base/errors.ts";
import { runSteps } from "../../base/steps.ts";
import { RECORD_NAME } from "../../formats/file-names.ts";
import { checkArgument } from "../../model/argument-kinds.ts";
import { checkPadding } from "../../model/tensors/padding.ts";
import {
  hasOutline,
  type Outline,
  type PartDocument,
  type PlanDocument,
  writeOutline,
} from "../../output/parts/documents.ts";
import { leftBy } from "../../output/parts/left.ts";
import { type PartNumber, partsHomeOf } from "../../output/parts/place.ts";
import { type Range, shareOf } from "../../output/parts/share.ts";
import { type PartBefore, type PartWritten, partBefore, writePartOutput } from "../../output/parts/write.ts";
import { checkTarget } from "../../output/safe-target.ts";
import { settleTarget } from "../../output/staging.ts";
import { refuseOtherFile } from "../../output/target.ts";
import { checkBytes, checkValues } from "../../views/checks.ts";
import { Gatherer } from "../../views/gather.ts";
import { Producer } from "../../views/produce.ts";
import { besideOutput } from "../bytes/beside.ts";
import { refuseOverflow } from "../bytes/casts.ts";
import { producing } from "../bytes/producing.ts";
import type { Conversion, ConvertOptions } from "../convert.ts";
import { checkInputs } from "../inputs.ts";
import type { ConversionPlan } from "../plan.ts";
import { leafJson, type PartAbout, partAboutOf } from "./about.ts";
import { checkers, hashers, Places, verifiers } from "./portion.ts";
import { reportOf } from "./report.ts";
import { planDocument } from "./terms.ts";

export type PartOptions = Omit<ConvertOptions, "onKept">;

/** The JSON document of `convert --part`. */
export interface PartConversion
  extends Pick<
    Conversion,
    "verdict" | "family" | "from" | "to" | "tensors" | "sourceTensors" | "dropped" | "waived" | "notes"
  > {
  readonly part: PartNumber & {
    /** What all parts must agree on. */
    readonly plan: string;
    /** Whether it was there, whole, before this run. */
    readonly wasDone: boolean;
    /** Name of the machine that made it. */
    readonly host: string;
  };
  /** Of tensor data in the target, of all parts. */
  readonly bytes: number;
  /** What this part wrote. */
  readonly files: readonly {
    readonly name: string;
    readonly begin: number;
    readonly bytes: number;
    readonly xxh64: string;
  }[];
  /** Tensors of the model that this part hashed. */
  readonly hashed: number;
  readonly durable: boolean;
  readonly notChecked: string | null;
  readonly peakRamBytes: number;
  readonly seconds: number;
}

/** What parts of a plan agree on. */
interface Shared {
  readonly document: PlanDocument;
  readonly shares: readonly (readonly Range[])[];
  readonly places: Places;
}

/** What each part of a plan writes. */
export function partsOf(plan: ConversionPlan, of: number): Shared {
  const shares = shareOf(plan.files, of);
  return { document: planDocument(plan, of), shares, places: new Places(plan, shares) };
}

/**
 * Throws as `convert`, and InputError PARTS_OF_ANOTHER_PLAN, PARTS_REMOVED, PARTS_DAMAGED. What was written until then can be
 * continued.
 */
export async function convertPart(
  plan: ConversionPlan,
  part: PartNumber,
  options: PartOptions = {},
): Promise<PartConversion> {
  checkArgument("convertPart", "plan", plan);
  checkPart(part);
  const begin = performance.now();
  const { target, reads } = plan;
  const { force = false, resume = false } = options;
  settleTarget(target.path);
  checkTarget(target.path, { force, reads, writes: plan.files });
  refuseOtherFile(target.path);
  const shared = partsOf(plan, part.of);
  const before: PartBefore = partBefore(target.path, shared.document, part);
  const maker = () => new PartMaker(plan, part, shared, options, begin);
  if (before.done !== null) {
    const home = partsHomeOf(resolve(target.path));
    if (!hasOutline(home, shared.document.plan)) writeOutline(home, maker().outline());
    return conversionOf(plan, before.done, true);
  }
  options.onStart?.();
  const made = await maker().run(resume ? before.attempts : []);
  return conversionOf(plan, made, false);
}

/** Throws UsageError PART_NUMBER. */
export function checkPart({ number, of }: PartNumber): void {
  const isPart =
    Number.isSafeInteger(of) && Number.isSafeInteger(number) && number >= 1 && number <= of && of <= MOST_PARTS;
  if (isPart) return;
  throw new UsageError("PART_NUMBER", `part ${number} of ${of}: there is no such part`, {
    expected: `1/n to n/n, and n up to ${MOST_PARTS}`,
    found: `${number}/${of}`,
    help: "parts are counted from 1: the parts of three are 1/3, 2/3 and 3/3",
  });
}

const MOST_PARTS = 100_000;

class PartMaker {
  /** Of this part in the share of work. */
  readonly #index: number;
  readonly #verified: readonly string[];
  readonly #hashed: ReadonlySet<number>;
  readonly #checks: ReturnType<typeof checkers>;

  constructor(
    readonly plan: ConversionPlan,
    readonly part: PartNumber,
    readonly shared: Shared,
    readonly options: PartOptions,
    readonly begin: number,
  ) {
    this.#index = part.number - 1;
    const { places } = shared;
    // In this order on every machine: each gives work to whoever has the least until then.
    const owners = hashers(plan.seal?.held() ?? [], places);
    this.#hashed = new Set(owners.flatMap((owner, id) => (owner === this.#index ? [id] : [])));
    this.#checks = checkers(plan, places);
    const verified = verifiers(plan, places);
    this.#verified = plan.sourceKeys.filter((key) => verified.get(key) === this.#index);
  }

  async run(attempts: PartBefore["attempts"]): Promise<PartDocument> {
    const { plan, part, shared, options } = this;
    await this.#check();
    // All parts take samples of all tensors, for the plan. Each element is to be seen by the part that makes it.
    plan.source.merged?.forget();
    const { memory } = plan;
    const beside = besideOutput(memory.hasThreads ? plan.diskBytes / part.of : 0, plan.seal !== null);
    const { blocks, writer } = beside;
    const producer = new Producer(plan.mapping, new Gatherer(memory.bufferBytes, { blocks }));
    const { seal } = plan;
    const isWhole = (key: string) => shared.places.isWhole(key) && shared.places.ownerOf(key) === this.#index;
    seal?.start(plan.diskBytes / part.of, { memory, ...beside, share: { only: this.#hashed, isWhole } });
    let written = 0;
    try {
      return await writePartOutput({
        target: plan.target.path,
        document: shared.document,
        outline: this.outline(),
        files: plan.files,
        part,
        attempts,
        produce: producing(plan, producer, blocks, (key) => refuseOverflowIn(producer, key)),
        writer,
        fsync: options.fsync ?? true,
        finish: (result) => this.#finish(result, producer),
        onProgress: (bytes, total) => {
          seal?.advance(bytes - written);
          written = bytes;
          options.onProgress?.({ label: `writing part ${part.number}/${part.of}`, done: bytes, total });
        },
        signal: options.signal,
      });
    } finally {
      seal?.close();
      beside.close();
      plan.encoding?.close();
    }
  }

  async #check(): Promise<void> {
    const { plan, options } = this;
    const steps = function* (maker: PartMaker): Generator<number, void, void> {
      yield* checkPadding(plan.padding, plan.isWaived);
      for (const mapping of plan.mappings) yield* checkValues(mapping, plan.isWaived, maker.#checksOf(mapping));
    };
    const total = plan.mappings.reduce((sum, mapping) => sum + checkBytes(mapping, this.#checksOf(mapping)), 0);
    await runSteps(steps(this), "checking", total, options);
  }

  #checksOf(mapping: ConversionPlan["mapping"]): (key: string) => boolean {
    const parts = this.#checks.get(mapping);
    return (key) => parts?.get(key) === this.#index;
  }

  async #finish({ bytes, isContinued, beat }: PartWritten, producer: Producer): Promise<PartAbout> {
    const { plan, options } = this;
    const hashes = (await plan.seal?.digests(beat)) ?? new Map<number, string>();
    for (const keys of inSteps(this.#verified, plan.source.tensors)) {
      plan.source.verify(keys);
      beat();
    }
    checkInputs(plan.inputs);
    return {
      bytes,
      seconds: (performance.now() - this.begin) / 1e3,
      peakRamBytes: process.resourceUsage().maxRSS * 1024,
      durable: options.fsync ?? true,
      isContinued,
      hashes: [...hashes],
      casts: [...producer.casts].map(([key, stats]) => ({ key, ...stats })),
      merged: plan.source.merged?.pieces() ?? [],
      encoding: plan.encoding && { ...plan.encoding.counts },
      notChecked: plan.source.notChecked?.() ?? null,
    };
  }

  outline(): Outline {
    const { plan, shared } = this;
    const { shares, document } = shared;
    const seal = plan.seal?.outline() ?? null;
    const recordText = plan.recordText();
    const about = {
      report: reportOf(plan),
      seal: seal && { ...seal, target: seal.target.map(leafJson), rounded: seal.rounded?.map(leafJson) ?? null },
      record: recordText && { name: RECORD_NAME, text: recordText },
    };
    return {
      plan: document.plan,
      files: plan.files.map(({ name, byteLength, copyOf }) => ({ name, byteLength, isCopy: copyOf !== undefined })),
      shares,
      left: leftBy(plan.files, shares),
      reads: plan.reads,
      isFile: plan.target.fileName !== null,
      about,
    };
  }
}

/** Read between two signs that an attempt goes on. */
const STEP_BYTES = 4e9;

/** Keys in groups of tensors of about so many bytes; one of none where there are none. */
function* inSteps(keys: readonly string[], tensors: ConversionPlan["source"]["tensors"]): Generator<string[]> {
  let [group, bytes]: [string[], number] = [[], 0];
  for (const key of keys) {
    group.push(key);
    bytes += tensors.get(key)?.byteLength ?? 0;
    if (bytes < STEP_BYTES) continue;
    yield group;
    [group, bytes] = [[], 0];
  }
  yield group;
}

function refuseOverflowIn({ casts }: Producer, key: string): void {
  const stats = casts.get(key);
  if (stats !== undefined) refuseOverflow(key, stats);
}

function conversionOf(plan: ConversionPlan, made: PartDocument, wasDone: boolean): PartConversion {
  const { plan: digest, number, of, host, ranges } = made;
  const about = partAboutOf(made, ({ place, expected }) => new Error(`part ${number}: ${place} is no ${expected}`));
  const { family, from, to, tensors, sourceTensors, dropped, waived, notes, bytes } = reportOf(plan);
  return {
    verdict: "pass",
    part: { number, of, plan: digest, wasDone, host },
    family,
    from,
    to,
    tensors,
    sourceTensors,
    bytes,
    dropped,
    waived,
    files: ranges.map(({ file, begin, end, xxh64 }) => ({ name: file, begin, bytes: end - begin, xxh64 })),
    hashed: about.hashes.length,
    durable: about.durable,
    notChecked: about.notChecked,
    peakRamBytes: about.peakRamBytes,
    seconds: about.seconds,
    notes,
  };
}
