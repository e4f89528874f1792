// Tries checks on mutants and on good pairs: node scripts/trust.mjs. This is one of its processes; it writes what it saw.
import { createHash } from "node:crypto";
import { appendFileSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Base, runnable, shortened, unrun } from "./bases.ts";
import { goodPairs, tryPair } from "./pairs.ts";
import { selected } from "./select.ts";
import { tryMutant } from "./try.ts";

interface Part {
  readonly index: number;
  readonly of: number;
  readonly out: string;
  readonly faults: number;
  readonly controls: number;
  readonly seed: number;
  /** Only kinds, or bases, whose name has this. */
  readonly only: string;
  readonly pairs: boolean;
}

/** Hypotheses beside a golden run a model many times: so many mutants share one. Both processes have some. */
const ALONE_EVERY = 6;

async function run({ index, of, out, faults, controls, seed, only, pairs }: Part): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "trust-"));
  const write = (line: object) => appendFileSync(out, `${JSON.stringify(line)}\n`);
  writeFileSync(out, "");
  try {
    const others = await unrun(folder);
    const bases = [...runnable(), ...others];
    const whole = [...selected(bases, { faults, controls, seed }).entries()];
    const plan = digestOf(whole.map(([, { kind, base, place }]) => `${kind.name} ${base.name} ${place}`));
    const all = whole.filter(([, { kind, base }]) => `${kind.name} ${base.name}`.includes(only));
    const goldens = new Map<string, string>();
    const goldenOf = (base: Base): string | null => {
      if (base.golden === null) return null;
      if (base.inputs !== null) return base.golden;
      const path = goldens.get(base.name) ?? shortened(base.golden, folder, base.name);
      goldens.set(base.name, path);
      return path;
    };
    for (const [i, [at, planned]] of all.entries()) {
      if (i % of !== index) continue;
      const row = await tryMutant(planned, { folder, goldenOf, alone: at % ALONE_EVERY < 2 });
      write({ row, at, plan });
      process.stderr.write(
        `${i + 1}/${all.length} ${row.kind} in ${row.base} (${row.side}): ${row.skipped ?? row.name ?? "-"} ${row.seconds.toFixed(1)} s\n`,
      );
    }
    const good = pairs ? [...goodPairs(others).entries()].filter(([, { name }]) => name.includes(only)) : [];
    for (const [i, [at, pair]] of good.entries()) {
      if (i % of !== index) continue;
      const row = await tryPair(pair, folder);
      write({ pair: row, at, plan });
      process.stderr.write(
        `pair ${i + 1}/${good.length} ${row.name}: ${row.alarms.join(", ") || "passes"} ${row.seconds.toFixed(1)} s\n`,
      );
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** By which rows of two runs are known to be of one selection. */
const digestOf = (names: readonly string[]): string =>
  createHash("sha256").update(names.join("\n")).digest("hex").slice(0, 16);

const given: Part = JSON.parse(process.argv[2] ?? "{}");
await run(given);
