// Parts of made files: what to write, and what must come of it.
import { join } from "node:path";
import type { OutputFile } from "../../../src/formats/output.ts";
import { type Outline, type PartDocument, type PlanDocument, readPart } from "../../../src/output/parts/documents.ts";
import { joinParts } from "../../../src/output/parts/join.ts";
import { leftBy } from "../../../src/output/parts/left.ts";
import { partsHomeOf } from "../../../src/output/parts/place.ts";
import { shareOf } from "../../../src/output/parts/share.ts";
import { type PartJob, partBefore, writePartOutput } from "../../../src/output/parts/write.ts";
import { plannedFiles, produceBytes, STEP } from "../execute-plan.ts";

export const BYTES = 3 * 2 ** 20 + 12;
const PLAN = "ab".repeat(32);

interface Ask {
  readonly resume?: boolean;
  readonly unasked?: boolean;
}

export interface Made {
  readonly target: string;
  readonly home: string;
  readonly files: readonly OutputFile[];
  readonly document: PlanDocument;
  readonly outline: Outline;
  /** @param change `unasked`: whatever else runs */
  part(number: number, change?: Partial<PartJob> & Ask): Promise<PartDocument>;
  join(change?: Partial<Parameters<typeof joinParts>[0]>): ReturnType<typeof joinParts>;
}

/** A target of `of` parts in a folder. */
export function madeParts(folder: string, of: number, files: readonly OutputFile[] = plannedFiles(BYTES)): Made {
  const target = join(folder, "target");
  const home = partsHomeOf(target);
  const document = { plan: PLAN, target: "target", of, terms: [{ name: "kind", value: "made", counts: true }] };
  const shares = shareOf(files, of);
  const outline: Outline = {
    plan: PLAN,
    files: files.map(({ name, byteLength }) => ({ name, byteLength, isCopy: false })),
    shares,
    left: leftBy(files, shares),
    reads: [],
    isFile: false,
    about: null,
  };
  return {
    target,
    home,
    files,
    document,
    outline,
    async part(number, { resume = false, unasked = false, ...change } = {}) {
      const { attempts } = unasked ? { attempts: [] } : partBefore(target, document, { number, of });
      return writePartOutput({
        target,
        document,
        outline,
        files,
        part: { number, of },
        attempts: resume ? attempts : [],
        produce: produceBytes,
        fsync: false,
        stepBytes: STEP,
        finish: async () => null,
        ...change,
      });
    },
    async join(change = {}) {
      const parts = Array.from({ length: of }, (_, i) => readPart(home, PLAN, { number: i + 1, of })!);
      const check = { force: false, reads: [] };
      return joinParts({ target, home, outline, parts, made: new Map(), reads: true, check, fsync: false, ...change });
    },
  };
}
