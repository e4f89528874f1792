// Converts in parts that are killed at random moments: node test/kills/parts.mjs [--kills 200] [--seed N]
// With --matrix instead: every kind in 1, 3 and 16 parts, nothing killed. Needs the built command.
// However the parts were killed, run twice and begun again, what is joined is what one run writes, and until then nothing
// stands at the target.
import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { kindsIn } from "./kinds.mjs";
import { command, convert, digestOf, glance, must, randomOf } from "./place.mjs";

const { values } = parseArgs({
  options: {
    kills: { type: "string", default: "200" },
    seed: { type: "string", default: "1" },
    matrix: { type: "boolean", default: false },
  },
});
const place = mkdtempSync(join(tmpdir(), "kills-of-parts-"));
const random = randomOf(Number(values.seed));
const among = (list) => list[Math.floor(random() * list.length)];
const wrong = [];
const counts = {};
const count = (what) => {
  counts[what] = (counts[what] ?? 0) + 1;
};

const partArgs = (kind, target, i, n) => [kind.source, target, ...kind.more, "--part", `${i}/${n}`];

/** Runs the command; `killAfter` is when the signal comes, null where none does. */
function run(args, killAfter = null, signal = "SIGKILL") {
  const child = spawn(process.execPath, [command, ...args], { stdio: ["ignore", "ignore", "pipe"] });
  let stderr = "";
  child.stderr.on("data", (text) => {
    stderr += text;
  });
  const timer = killAfter === null ? undefined : setTimeout(() => child.kill(signal), killAfter);
  return new Promise((resolve) =>
    child.on("close", (status, by) => {
      clearTimeout(timer);
      resolve({ status, by, first: stderr.split("\n").find((line) => line.startsWith("error[")) ?? "" });
    }),
  );
}

const wasStopped = ({ status, by }) => by !== null || [129, 130, 143].includes(status);

/** One part until it is done, killed on the way a few times; now and then by two processes at once. */
async function makePart(kind, target, i, n, name) {
  for (let attempt = 0; attempt < 12; attempt++) {
    const isTwin = random() < 0.1;
    const willDie = attempt < 3 && random() < 0.4;
    const delay = Math.round(random() * (kind.ms / n + 400));
    const resume = random() < 0.6 ? ["--resume"] : [];
    const args = [...partArgs(kind, target, i, n), ...resume];
    const signal = random() < 0.7 ? "SIGKILL" : among(["SIGTERM", "SIGINT", "SIGHUP"]);
    const [result, twin] = await Promise.all([run(args, willDie ? delay : null, signal), isTwin ? run(args) : null]);
    if (twin !== null) count("twins");
    for (const each of [result, twin]) {
      if (each === null || each.status === 0 || wasStopped(each)) continue;
      if (isTwin && each.first.includes("BUSY")) count("twin was told that the other one runs");
      else wrong.push(`${name} part ${i}/${n} ${signal} ${delay}: exit ${each.status} ${each.first}`);
    }
    if (wasStopped(result)) count(signal);
    if (result.status === 0 || twin?.status === 0) return;
  }
  wrong.push(`${name} part ${i}/${n}: is never done`);
}

/** Before all parts are there, joining them is refused and changes nothing. */
async function tooEarly(target, name) {
  const { status, first } = await run(["finalize", target]);
  if (status !== 3) wrong.push(`${name}: finalize too early: exit ${status} ${first}`);
  if (glance(target) !== null) wrong.push(`${name}: finalize too early left something at the target`);
  count("finalize too early");
}

/** A part of another conversion, or of another number of parts, is told so and spoils nothing. */
async function foreign(kind, target, n, name) {
  const others = [
    partArgs({ ...kind, more: kind.other }, target, 1, n),
    partArgs(kind, target, 1, n + 1),
    [...kind.strange(), target, "--part", `1/${n}`],
  ];
  const { status, first } = await run(among(others));
  if (status !== 3 || !first.includes("PLAN")) wrong.push(`${name}: a foreign part: exit ${status} ${first}`);
  count("foreign parts");
}

async function joined(kind, target, name) {
  const before = glance(target);
  for (let attempt = 0; attempt < 8; attempt++) {
    const willDie = attempt < 3 && random() < 0.5;
    const signal = random() < 0.7 ? "SIGKILL" : among(["SIGTERM", "SIGINT", "SIGHUP"]);
    let isOver = false;
    const ending = run(["finalize", target], willDie ? Math.round(random() * 900) : null, signal).then((result) => {
      isOver = true;
      return result;
    });
    while (!isOver) {
      const seen = glance(target);
      count("looks");
      if (seen !== before && seen !== kind.glance && glance(target) !== kind.glance)
        wrong.push(`${name}: during finalize a reader saw ${seen}`);
      await new Promise((resolve) => setTimeout(resolve, 3));
    }
    const result = await ending;
    if (result.status === 0) return;
    if (!wasStopped(result)) {
      wrong.push(`${name}: finalize: exit ${result.status} ${result.first}`);
      return;
    }
    count(`finalize ${signal}`);
    if (glance(target) === kind.glance) return;
  }
}

async function trial(kind, n, name) {
  const parent = join(place, name);
  mkdirSync(parent);
  const target = join(parent, kind.target);
  const waiting = Array.from({ length: n }, (_, i) => ({ i: i + 1, at: random() })).sort((a, b) => a.at - b.at);
  const last = waiting.length > 1 ? waiting.pop() : null;
  const lane = async () => {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift())
      await makePart(kind, target, next.i, n, name);
  };
  await Promise.all([lane(), lane(), lane()]);
  if (last !== null) {
    if (random() < 0.5) await tooEarly(target, name);
    if (random() < 0.5) await foreign(kind, target, n, name);
    await makePart(kind, target, last.i, n, name);
  }
  if (glance(target) !== null) wrong.push(`${name}: something is at the target before finalize`);
  await joined(kind, target, name);
  if (glance(target) === null || digestOf(target) !== kind.digest) wrong.push(`${name}: other bytes`);
  convert(["clean", target]);
  const rest = readdirSync(parent);
  if (rest.length !== 1) wrong.push(`${name}: left ${rest}`);
  rmSync(parent, { recursive: true });
}

/** What one run writes, and how long it takes. */
function prepared(kind) {
  const target = join(place, "whole", kind.target);
  const begin = performance.now();
  must([kind.source, target, ...kind.more, "--no-fsync"]);
  const ms = performance.now() - begin;
  const known = { ...kind, ms, digest: digestOf(target), glance: glance(target) };
  rmSync(join(place, "whole"), { recursive: true });
  return known;
}

const killsSoFar = () => Object.entries(counts).reduce((sum, [what, n]) => sum + (/SIG[A-Z]+$/.test(what) ? n : 0), 0);

async function matrix(kind) {
  for (const n of [1, 3, 16]) {
    const target = join(place, "matrix", kind.target);
    for (let i = n; i >= 1; i--) must([...partArgs(kind, target, i, n), "--no-fsync"]);
    must(["finalize", target]);
    const isSame = digestOf(target) === kind.digest;
    if (!isSame) wrong.push(`${kind.name}, ${n} parts: other bytes`);
    if (readdirSync(join(place, "matrix")).length !== 1) wrong.push(`${kind.name}, ${n} parts: something is left`);
    rmSync(join(place, "matrix"), { recursive: true });
    process.stdout.write(`${kind.name}, ${n} parts: ${isSame ? "the same bytes" : "OTHER BYTES"}\n`);
  }
}

try {
  const kinds = kindsIn(place).map(prepared);
  if (values.matrix) for (const kind of kinds) await matrix(kind);
  else
    for (let trials = 0; killsSoFar() < Number(values.kills); trials++) {
      const kind = kinds[trials % kinds.length];
      const n = among([1, 2, 3, 5, 16]);
      await trial(kind, n, `${trials} ${kind.name.replaceAll("/", "-")} in ${n}`);
      process.stdout.write(`${kind.name} in ${n}: ${killsSoFar()} kills so far, ${wrong.length} wrong\n`);
    }
  process.stdout.write(
    `${killsSoFar()} kills: ${JSON.stringify(counts)}\n${wrong.length} wrong\n${wrong.join("\n")}\n`,
  );
  process.exitCode = wrong.length > 0 ? 1 : 0;
} finally {
  rmSync(place, { recursive: true, force: true });
}
