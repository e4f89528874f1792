// How each block of a page is made, in the order in which they run: what is cheap first, and configs after the run that
// tells which of their fields have an effect.
import type { Check } from "../base/check.ts";
import { diff } from "../verify/diff.ts";
import { roundtrip } from "../verify/roundtrip.ts";
import { validate } from "../verify/validate.ts";
import { roundTripCheck, roundTripName, validateChecks, validateName } from "./alone.ts";
import { attempt, type BlockName, notChecked } from "./block.ts";
import { CONFIG_NAME, configChecks } from "./configs.ts";
import { parityBlock } from "./forward/parity.ts";
import { hubChecks } from "./hub/readiness.ts";
import { identityChecks, identityName } from "./identity.ts";
import { ledgerCheck, ledgerOf } from "./ledger.ts";
import type { MadeBlocks } from "./report.ts";
import { sealChecks } from "./seals.ts";
import type { OpenSide, SideName } from "./sides.ts";
import { type MadeOf, stepsOf, type Work, whyNoPair } from "./work.ts";

type Make = (work: Work, made: MadeBlocks) => Promise<MadeOf>;

const NAMES: readonly SideName[] = ["a", "b"];

/** One thing of each side. */
async function ofEach<T>(
  { sides }: Work,
  nameOf: (side: string) => string,
  make: (side: OpenSide) => Promise<T> | T,
  checksOf: (side: string, made: T) => readonly Check[],
): Promise<{ readonly checks: Check[]; readonly found: Partial<Record<SideName, T>> }> {
  const checks: Check[] = [];
  const found: Partial<Record<SideName, T>> = {};
  for (const [i, side] of sides.entries()) {
    const { made, failure } = await attempt(nameOf(NAMES[i]!), () => make(side));
    if (failure !== null) checks.push(failure);
    else {
      found[NAMES[i]!] = made;
      checks.push(...checksOf(NAMES[i]!, made));
    }
  }
  return { checks, found };
}

const ledger: Make = async (work) => {
  const nameOf = (side: string) => `every tensor of ${side} has its place, or a reason not to`;
  const { checks, found } = await ofEach(work, nameOf, ledgerOf, (side, made) => [ledgerCheck(nameOf(side), made)]);
  return { checks, found: { ledgers: found, notes: work.sides.flatMap(({ model }) => model.stored.notes) } };
};

const identity: Make = async (work) => {
  const [sealed, compared] = [await sealChecks(work), await comparison(work)];
  const { checks, ...found } = sealed;
  return { checks: [...compared.checks, ...checks], found: { ...found, ...compared.found } };
};

async function comparison(work: Work): Promise<MadeOf> {
  const { sides, profile, options } = work;
  const [a, b] = sides;
  if (a === undefined || b === undefined || profile === null) {
    const instead = options.seal === undefined && !work.isPair ? ", or a seal" : "";
    return { checks: [notChecked("weights are equal to the other side's", `${whyNoPair(work)}${instead}`)] };
  }
  const { made, failure } = await attempt(identityName(profile, null), () =>
    diff(a.checkpoint, b.checkpoint, {
      a: a.options,
      b: b.options,
      afterCast: profile.name === "cast",
      ...stepsOf(options),
    }),
  );
  if (failure !== null) return { checks: [failure] };
  return {
    checks: identityChecks(made, profile, options.accepted ?? {}),
    found: { diff: made, notes: made.notes },
  };
}

const validation: Make = async (work) => {
  const make = (side: OpenSide) => validate(side.model, stepsOf(work.options));
  const { checks, found } = await ofEach(work, validateName, make, validateChecks);
  return { checks, found: { validations: found, notes: Object.values(found).flatMap(({ notes }) => notes) } };
};

const trip: Make = async (work) => {
  const make = (side: OpenSide) => roundtrip(side.model, stepsOf(work.options));
  const { checks, found } = await ofEach(work, roundTripName, make, (side, made) => [roundTripCheck(side, made)]);
  return { checks, found: { roundtrips: found, notes: Object.values(found).flatMap(({ notes }) => notes) } };
};

const config: Make = async (work, made) => {
  const { sides, options } = work;
  if (sides.length < 2) return { checks: [notChecked(CONFIG_NAME, whyNoPair(work))] };
  const { parity = null } = made.get("parity")?.found ?? {};
  const { diff = null } = made.get("identity")?.found ?? {};
  return { checks: configChecks({ parity, diff }, options.accepted ?? {}) };
};

const hub: Make = async ({ sides }) => {
  const { made, failure } = await attempt("ready for the Hub", () => hubChecks(sides));
  return { checks: failure === null ? made : [failure] };
};

export const blocksOf: readonly { readonly name: BlockName; readonly make: Make }[] = [
  { name: "ledger", make: ledger },
  { name: "hub", make: hub },
  { name: "identity", make: identity },
  { name: "validate", make: validation },
  { name: "roundtrip", make: trip },
  { name: "parity", make: parityBlock },
  { name: "config", make: config },
];
