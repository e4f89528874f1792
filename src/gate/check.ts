// Everything that can be checked of one checkpoint, or of two: one run, one page, one verdict.
import { SharedBackend } from "../parity/backend.ts";
import { BLOCKS, type BlockName, failed, named, wordsOf } from "./block.ts";
import { blocksOf } from "./blocks.ts";
import { type Profile, type ProfileName, profileOf, widerFirst } from "./profile.ts";
import type { CheckedSide, CheckReport, Made } from "./report.ts";
import { checkRequired, withRequired } from "./required.ts";
import { isOpen, type Side, withSides } from "./sides.ts";
import type { CheckOptions, Work } from "./work.ts";

/**
 * What makes an input unacceptable is a failed check where the checkpoint can be read, and no end of the run.
 * @throws InputError where no side can be read, or an input of parity cannot; UsageError; EnvironmentError
 */
export async function check(options: CheckOptions): Promise<CheckReport> {
  const begin = performance.now();
  checkRequired(options.require ?? []);
  const { source, target } = options;
  const shared = options.shared ?? new SharedBackend();
  try {
    return await withSides(target === undefined ? [source] : [source, target], async (sides) => {
      const { all, profile } = arranged(sides, options.profile);
      const work: Work = {
        options: { ...options, shared },
        sides: all.filter(isOpen),
        isPair: all.length > 1,
        profile,
      };
      const made = await madeOf(work, options.blocks ?? BLOCKS);
      return pageOf(all, profile, made, options, begin);
    });
  } finally {
    if (options.shared === undefined) await shared.close();
  }
}

interface Arranged {
  readonly all: readonly Side[];
  readonly profile: Profile | null;
}

function arranged(sides: readonly Side[], asked: ProfileName | undefined): Arranged {
  const [a, b] = sides;
  if (a === undefined || b === undefined || !isOpen(a) || !isOpen(b)) return { all: sides, profile: null };
  const all = widerFirst([a, b]);
  return { all, profile: profileOf(all, asked) };
}

async function madeOf(work: Work, asked: readonly BlockName[]): Promise<Made[]> {
  const made = new Map<BlockName, Made>();
  for (const { name, make } of blocksOf) {
    if (!asked.includes(name)) continue;
    const begin = performance.now();
    const { checks, found = {} } = await make(work, made);
    made.set(name, { name, checks, found, seconds: (performance.now() - begin) / 1e3 });
  }
  return BLOCKS.flatMap((name) => made.get(name) ?? []);
}

function pageOf(
  sides: readonly Side[],
  profile: Profile | null,
  made: readonly Made[],
  { accepted = {}, require = [] }: CheckOptions,
  begin: number,
): CheckReport {
  const [a, b = null] = sides.map(aboutOf);
  const unread = sides.flatMap((side) =>
    isOpen(side) ? [] : [failed(`${side.path} can be read`, wordsOf(side.error))],
  );
  const checks = withRequired([...unread, ...made.flatMap(named)], require);
  let found: Made["found"] = {};
  for (const block of made) found = { ...found, ...block.found };
  return {
    ledgers: {},
    diff: null,
    seal: null,
    match: null,
    roundtrips: {},
    validations: {},
    parity: null,
    pinned: null,
    goldens: [],
    cost: null,
    ...found,
    verdict: checks.some(({ status }) => status === "failed") ? "fail" : "pass",
    a: a!,
    b,
    profile,
    checks,
    blocks: made.map(({ name, seconds }) => ({ name, seconds })),
    accepted,
    notes: [...new Set(made.flatMap((block) => block.found.notes ?? []))],
    peakRamBytes: process.resourceUsage().maxRSS * 1024,
    seconds: (performance.now() - begin) / 1e3,
  };
}

function aboutOf(side: Side): CheckedSide {
  if (!isOpen(side)) return { path: side.path, read: null };
  const { model } = side;
  const tensors = [...model.source.tensors.values()];
  return {
    path: side.path,
    read: {
      family: model.adapter.family,
      layout: model.layout.name,
      format: model.checkpoint.format,
      tensors: tensors.length,
      bytes: tensors.reduce((sum, { byteLength }) => sum + byteLength, 0),
      config: model.stored.config.path,
    },
  };
}
