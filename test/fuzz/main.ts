// `npm run fuzz`: each parser in a worker, whose heap is bounded and which can be ended where a case never ends.
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import { type Failure, fuzz, judge, type Tally } from "./fuzz.ts";
import { caseOf } from "./mutate.ts";
import { PARSERS, type Parser } from "./parsers.ts";

const HEAP_MB = 400;
const HANGS_MS = 20_000;
const MOST_FAILURES = 10;
const KEPT = "fuzz-failures";

interface Job {
  readonly name: string;
  readonly seed: number;
  readonly from: number;
  /** End of its time, as Date.now() counts. */
  readonly until: number;
  /** [number of the case under way, ms of its beginning] */
  readonly beat: Float64Array;
}

const say = (line: string): void => void process.stdout.write(`${line}\n`);

function parserNamed(name: string): Parser {
  const make = PARSERS[name];
  if (make === undefined) throw new Error(`no parser "${name}": there are ${Object.keys(PARSERS).join(", ")}`);
  return make();
}

function work({ name, seed, from, until, beat }: Job): Tally {
  return fuzz(parserNamed(name), {
    seed,
    from,
    goesOn: (index) => {
      const now = Date.now();
      beat[0] = index;
      beat[1] = now;
      return now < until;
    },
  });
}

/** One worker from its first case to the end of its time, or to a case that it does not survive. */
function runWorker(job: Job): Promise<Tally> {
  const worker = new Worker(new URL(import.meta.url), {
    workerData: job,
    resourceLimits: { maxOldGenerationSizeMb: HEAP_MB },
  });
  return new Promise((resolve) => {
    const end = (tally: Tally) => {
      clearInterval(watch);
      resolve(tally);
    };
    const died = (what: string) => {
      const index = job.beat[0]!;
      end({ cases: index + 1 - job.from, read: 0, refused: new Map(), failures: [{ index, what }] });
    };
    const watch = setInterval(() => {
      if (job.beat[1]! === 0 || Date.now() - job.beat[1]! < HANGS_MS) return;
      void worker.terminate();
      died(`does not end within ${HANGS_MS / 1000} s`);
    }, 500);
    worker.once("message", end);
    worker.once("error", (error) => died(error.message));
  });
}

/** Keeps the input of a failure, and says how to run it again. */
function keep(parser: Parser, seed: number, { index, what }: Failure): void {
  const file = `${KEPT}/${parser.name}-${seed}-${index}.bin`;
  mkdirSync(KEPT, { recursive: true });
  writeFileSync(file, caseOf(parser.good, parser.mutations, [seed, index]));
  say(`FAILURE ${parser.name} case ${index}: ${what}`);
  say(`  npm run fuzz -- --parser ${parser.name} --replay ${file}`);
}

async function fuzzOne(name: string, seed: number, seconds: number): Promise<number> {
  const parser = parserNamed(name);
  for (const [i, good] of parser.good.entries()) {
    const { wrong, code } = judge(parser, good);
    if (wrong !== undefined || (code !== null && i === 0))
      throw new Error(`${name}: good input ${i}: ${wrong ?? code}`);
  }
  const begin = Date.now();
  const codes = new Set<string>();
  let [cases, read, failures] = [0, 0, 0];
  do {
    const beat = new Float64Array(new SharedArrayBuffer(16));
    const tally = await runWorker({ name, seed, from: cases, until: begin + seconds * 1000, beat });
    for (const failure of tally.failures) keep(parser, seed, failure);
    cases += tally.cases;
    read += tally.read;
    failures += tally.failures.length;
    for (const code of tally.refused.keys()) codes.add(code);
  } while (Date.now() - begin < seconds * 1000 && failures < MOST_FAILURES);
  const took = (Date.now() - begin) / 1000;
  say(
    `${name.padEnd(12)} ${cases} cases, ${Math.round(cases / took)} a second; ${read} read, the others refused by ${codes.size} codes; ${failures} failures`,
  );
  return failures;
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      seconds: { type: "string", default: "60" },
      parser: { type: "string" },
      seed: { type: "string", default: String(Date.now() % 2 ** 31) },
      replay: { type: "string" },
    },
  });
  if (values.replay !== undefined) {
    const { wrong, code } = judge(parserNamed(`${values.parser}`), readFileSync(values.replay));
    say(wrong ?? (code === null ? "read" : `refused: ${code}`));
    process.exitCode = wrong === undefined ? 0 : 1;
    return;
  }
  const names = values.parser === undefined ? Object.keys(PARSERS) : [values.parser];
  const [seconds, seed] = [Number(values.seconds), Number(values.seed)];
  if (!(seconds > 0) || !Number.isSafeInteger(seed)) throw new Error("--seconds and --seed take numbers");
  say(`seed ${seed}, ${seconds} s for ${names.length === 1 ? names[0] : `${names.length} parsers`}`);
  let failures = 0;
  for (const name of names) failures += await fuzzOne(name, seed, seconds / names.length);
  process.exitCode = failures > 0 ? 1 : 0;
}

if (isMainThread) await main();
else parentPort?.postMessage(work(workerData as Job));
