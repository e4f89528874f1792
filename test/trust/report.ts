// docs/trust.md: which check sees which fault, where it says it is, and what it calls it.
import { KINDS } from "../../src/faults/kinds/registry.ts";
import type { PairRow } from "./pairs.ts";
import { CHECKS, type Row } from "./try.ts";

export interface Found {
  readonly rows: readonly Row[];
  readonly pairs: readonly PairRow[];
  readonly seed: string;
  readonly seconds: number;
  /** Parts of names whose rows were tried again alone, after the others. */
  readonly again: readonly string[];
}

/** Shares below which a run fails. */
const LEAST = { caught: 1, located: 1, named: 0.97 } as const;
const LEAST_MUTANTS = 400;
const LEAST_KINDS = 60;
const LEAST_PAIRS = 100;
const LEAST_OTHER_BITS = 40;
const MOST_OF_ONE_KIND = 0.05;

const isCaught = ({ said }: Row): boolean => CHECKS.some((check) => said[check] === "fails");
const isTried = ({ skipped }: Row): boolean => skipped === null;
/** Bytes of the weights, that no number of a forward pass shows, are no matter of parity. */
const isPunished = ({ said }: Row): boolean =>
  (["coverage", "config", "round trip", "parity"] as const).some((check) => said[check] === "fails");

interface Counts {
  readonly faults: readonly Row[];
  readonly controls: readonly Row[];
  readonly missed: readonly Row[];
  readonly mislocated: readonly Row[];
  readonly misnamed: readonly Row[];
  readonly punished: readonly Row[];
  readonly skipped: readonly Row[];
  readonly alarms: readonly PairRow[];
}

function countsOf({ rows, pairs }: Found): Counts {
  const tried = rows.filter(isTried);
  const faults = tried.filter(({ code }) => code !== null);
  const controls = tried.filter(({ code }) => code === null);
  return {
    faults,
    controls,
    missed: faults.filter((row) => !isCaught(row)),
    mislocated: faults.filter(({ located }) => located === false),
    misnamed: faults.filter(({ named }) => named === false),
    punished: controls.filter(isPunished),
    skipped: rows.filter((row) => !isTried(row)),
    alarms: pairs.filter(({ alarms }) => alarms.length > 0),
  };
}

/** Why a run does not show what it is for; empty where it does. */
export function problems(found: Found): string[] {
  const { faults, missed, mislocated, misnamed, punished, alarms } = countsOf(found);
  const share = (wrong: readonly Row[]) => 1 - wrong.length / Math.max(1, faults.length);
  const kinds = new Map<string, number>();
  for (const { kind } of faults) kinds.set(kind, (kinds.get(kind) ?? 0) + 1);
  const most = Math.max(0, ...kinds.values()) / Math.max(1, faults.length);
  const keeps = faults.filter(({ keepsShapes }) => keepsShapes).length / Math.max(1, faults.length);
  return [
    faults.length < LEAST_MUTANTS && `${faults.length} mutants, fewer than ${LEAST_MUTANTS}`,
    kinds.size < LEAST_KINDS && `${kinds.size} kinds, fewer than ${LEAST_KINDS}`,
    most > MOST_OF_ONE_KIND && `one kind is ${percent(most)} of them`,
    keeps < 0.5 && `only ${percent(keeps)} keep all keys, shapes and dtypes`,
    share(missed) < LEAST.caught && `${missed.length} missed`,
    share(mislocated) < LEAST.located && `${mislocated.length} mislocated`,
    share(misnamed) < LEAST.named && `${misnamed.length} misnamed: ${percent(share(misnamed))} are right`,
    punished.length > 0 && `${punished.length} controls punished`,
    found.pairs.length < LEAST_PAIRS && `${found.pairs.length} good pairs, fewer than ${LEAST_PAIRS}`,
    found.pairs.filter(({ bits }) => bits).length < LEAST_OTHER_BITS && "too few good pairs differ in bits",
    alarms.length > 0 && `${alarms.length} good pairs refused`,
  ].filter((each) => each !== false);
}

const percent = (share: number): string => `${(100 * share).toFixed(1)} %`;

const table = (head: readonly string[], rows: readonly (readonly (string | number)[])[]): string =>
  [head, head.map(() => "---"), ...rows].map((cells) => `| ${cells.join(" | ")} |`).join("\n");

const HEAD = `# What the checks catch

A check is worth what it refuses. Here each is tried on **mutants**: copies of a good checkpoint with one known fault, as
conversions make them (\`convert-checkpoint mutate --list\` shows all kinds, and where each was seen). The good checkpoints are the
fixtures, which torchtitan and transformers wrote, of all families, and layouts without a forward pass (\`meta\`, \`vllm\`). A fault is
made in the Hugging Face files, or in the trainer's, and compared with the other side, which is good.

- **caught**: some check refuses it. Most faults keep every key, shape and type: only values, or the config, tell.
- **located**: parity's first place where the sides part is the step that reads what is wrong, or a later one, as nothing before it
  shows more than rounding; of what is refused before a run, the error names the tensor or field.
- **named**: the cause has the fault's code and names the tensor or field.
- **golden alone** has recorded logits and no good weights to compare with.

Controls change bytes or fields, and nothing that is computed: parity must pass. Good pairs hold one model in two ways: nothing may
refuse them. \`npm run trust\` makes the mutants, writes this page and fails where it is not as it should be.
`;

export function page(found: Found): string {
  const counts = countsOf(found);
  const wrong = problems(found);
  return `${[
    HEAD,
    wrong.length === 0
      ? "All limits are kept.\n"
      : `**Limits not kept:** ${wrong.join("; ")}. Every case is listed below.\n`,
    summary(found, counts),
    byCheck(counts),
    byFamily(counts),
    byKind(counts),
    misses(counts),
    controls(counts),
    goodPairs(found, counts),
    notTried(counts),
  ].join("\n")}\n`;
}

function summary(
  { pairs, seed, seconds, again }: Found,
  { faults, controls: same, missed, mislocated, misnamed, punished, alarms }: Counts,
): string {
  const of = (wrong: readonly Row[]) =>
    `${faults.length - wrong.length} of ${faults.length} (${percent(1 - wrong.length / Math.max(1, faults.length))})`;
  const keeps = faults.filter(({ keepsShapes }) => keepsShapes).length;
  return `## Summary

${table(
  ["", ""],
  [
    [
      "mutants",
      `${faults.length} of ${new Set(faults.map(({ kind }) => kind)).size} kinds; ${keeps} keep all keys, shapes and types`,
    ],
    ["caught", of(missed)],
    ["located", of(mislocated)],
    ["named", of(misnamed)],
    ["controls passed", `${same.length - punished.length} of ${same.length}`],
    [
      "good pairs passed",
      `${pairs.length - alarms.length} of ${pairs.length}; ${pairs.filter(({ bits }) => bits).length} differ in bits`,
    ],
    ["seed, time", `${seed}, ${(seconds / 60).toFixed(0)} min on two processes`],
    ...(again.length === 0 ? [] : [["tried again since, alone", again.map((name) => `\`${name}\``).join(", ")]]),
  ],
)}
`;
}

function byCheck({ faults }: Counts): string {
  const rows = CHECKS.map((check) => {
    const asked = faults.filter(({ said }) => said[check] !== "not checked");
    const sees = asked.filter(({ said }) => said[check] === "fails").length;
    return [check, `${sees} of ${asked.length}`, faults.length - asked.length];
  });
  const alone = faults.filter(({ said }) => said["golden alone"] === "fails");
  const hit = alone.filter(({ goldenName, kind }) => goldenName !== null && codesOf(kind).includes(goldenName)).length;
  return `## By check

${table(["check", "refuses", "not checked"], rows)}

Of the ${alone.length} that the golden alone refuses, hypotheses call ${hit} by their code; the others get
another name, or none. It is asked of every third mutant, as hypotheses run a model many times.
`;
}

function byFamily({ faults }: Counts): string {
  const names = [
    ...new Set(faults.map(({ family, layout }) => (layout === "meta" || layout === "vllm" ? layout : family))),
  ].toSorted();
  const rows = names.map((name) => {
    const own = faults.filter(
      ({ family, layout }) => (layout === "meta" || layout === "vllm" ? layout : family) === name,
    );
    const right = (is: (row: Row) => boolean) => own.filter(is).length;
    return [
      `\`${name}\``,
      own.length,
      right(isCaught),
      right(({ located }) => located !== false),
      right(({ named }) => named !== false),
    ];
  });
  return `## By family and layout\n\n${table(["", "mutants", "caught", "located", "named"], rows)}\n`;
}

const codesOf = (name: string): readonly string[] => {
  const kind = KINDS.find((each) => each.name === name);
  return kind?.code == null ? [] : [kind.code, ...(kind.alsoCodes ?? [])];
};

/** How many of a kind's mutants a check refuses. */
const cell = (own: readonly Row[], check: (typeof CHECKS)[number]): string => {
  const asked = own.filter(({ said }) => said[check] !== "not checked");
  if (asked.length === 0) return "–";
  return `${asked.filter(({ said }) => said[check] === "fails").length}/${asked.length}`;
};

function byKind({ faults }: Counts): string {
  const rows = KINDS.flatMap(({ name, code }) => {
    const own = faults.filter(({ kind }) => kind === name);
    if (own.length === 0) return [];
    const right = (is: (row: Row) => boolean) => `${own.filter(is).length}/${own.length}`;
    return [
      [
        `\`${name}\``,
        `\`${code}\``,
        ...CHECKS.map((check) => cell(own, check)),
        right(({ located }) => located !== false),
        right(({ named }) => named !== false),
      ],
    ];
  });
  return `## Mutant × check

How many mutants of each kind a check refuses, of those that it was asked of; – where it was not.

${table(["kind", "named as", ...CHECKS, "located", "named"], rows)}
`;
}

const at = ({ kind, base, side, place }: Row): string[] => [`\`${kind}\``, `${base} (${side})`, `\`${place}\``];

function misses({ missed, mislocated, misnamed }: Counts): string {
  const list = (title: string, rows: readonly Row[], what: (row: Row) => string) =>
    rows.length === 0
      ? `### ${title}\n\nNone.\n`
      : `### ${title}\n\n${table(
          ["kind", "in", "place", "said"],
          rows.map((row) => [...at(row), what(row)]),
        )}\n`;
  return [
    "## Misses\n",
    list("Missed", missed, () => "nothing"),
    list("Mislocated", mislocated, ({ where }) => where ?? "no place"),
    list("Misnamed", misnamed, ({ name, code }) => `${name ?? "no cause"}, not ${code}`),
  ].join("\n");
}

function controls({ controls: all }: Counts): string {
  const names = [...new Set(all.map(({ kind }) => kind))];
  const rows = names.map((name) => {
    const own = all.filter(({ kind }) => kind === name);
    const wrong = own.filter(isPunished);
    return [
      `\`${name}\``,
      KINDS.find((kind) => kind.name === name)?.about ?? "",
      `${own.length - wrong.length} of ${own.length}`,
      wrong.map(({ base, name: said }) => `${base}: ${said ?? "no cause"}`).join("; "),
    ];
  });
  return `## Controls\n\nByte comparisons (\`diff\`, \`seal\`) may see them; all else passes.\n\n${table(["control", "what it changes", "passes", "punished"], rows)}\n`;
}

function goodPairs({ pairs }: Found, { alarms }: Counts): string {
  const refused = alarms.map(({ name, how, alarms: said }) => [name, how, said.join("; ")]);
  return `## Good pairs

${alarms.length === 0 ? "None is refused." : table(["refused", "how the two differ", "by"], refused)}

${table(
  ["pair", "how the two differ", "other bits", "checks"],
  pairs.map(({ name, how, bits, ran }) => [name, how, bits ? "yes" : "", ran.join(", ")]),
)}
`;
}

function notTried({ skipped }: Counts): string {
  const never = KINDS.filter(({ name }) => !skipped.some(({ kind }) => kind === name)).length;
  const rows = skipped.map((row) => [
    ...at(row),
    (row.skipped ?? "")
      .replaceAll(/\S*\/fixtures\//g, "")
      .slice(0, 160)
      .replaceAll("|", "/"),
  ]);
  return `## Not tried

${rows.length === 0 ? `Nothing: all ${never} kinds could be made where they were tried.` : table(["kind", "in", "place", "why"], rows)}

Parity of \`meta\` and \`vllm\` is that of the converted mutant: no forward pass is written for these layouts. Golden runs and parity take
the first 160 tokens of each fixture's own input, images whole, in f64. Files that are cut off, missing or swapped are refused when
they are opened: test/acceptance/faults.test.ts tries those.
`;
}
