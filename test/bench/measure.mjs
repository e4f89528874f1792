// Whole-process figures of a child: wall seconds, CPU seconds, and the high-water mark of its resident memory.
import { spawn } from "node:child_process";
import { closeSync, openSync, readdirSync, readFileSync, rmSync, statSync, writeSync } from "node:fs";
import { freemem } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

export const command = fileURLToPath(new URL("../../dist/bin/convert-checkpoint.js", import.meta.url));

/** Runs a program to its end; throws unless it exits with 0. CPU seconds and resident memory are sampled, on Linux only (0 elsewhere). */
export async function measure(program, args) {
  const begin = performance.now();
  const child = spawn(program, args, { stdio: ["ignore", "pipe", "inherit"] });
  let [peak, cpuSeconds] = [0, 0];
  const sample = () => {
    try {
      const kib = /VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${child.pid}/status`, "utf8"))?.[1];
      peak = Math.max(peak, Number(kib ?? 0) * 1024);
      // Behind the name, which is in parentheses: utime and stime are fields 14 and 15, in hundredths of a second.
      const fields = readFileSync(`/proc/${child.pid}/stat`, "utf8").split(") ").at(-1).split(" ");
      cpuSeconds = Math.max(cpuSeconds, (Number(fields[11]) + Number(fields[12])) / 100);
    } catch {
      // ended, or no /proc
    }
  };
  const timer = setInterval(sample, 20);
  let out = "";
  child.stdout.on("data", (chunk) => {
    out += chunk;
  });
  const status = await new Promise((resolve) => child.on("close", resolve));
  clearInterval(timer);
  if (status !== 0) throw new Error(`${program} ${args.join(" ")} exited with ${status}`);
  return { seconds: (performance.now() - begin) / 1e3, cpuSeconds, peakBytes: peak, out };
}

export const median = (values) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];

/** Bytes of all files below a folder. */
export const bytesBelow = (folder) =>
  readdirSync(folder, { recursive: true }).reduce((sum, name) => {
    const found = statSync(join(folder, name));
    return found.isFile() ? sum + found.size : sum;
  }, 0);

/**
 * Takes free memory for a file of so many bytes, and gives it back: virtual machines return pages to their host that were free for a
 * while, and whoever takes them next would pay for that.
 */
export function warmMemory(path, bytes) {
  const piece = Buffer.alloc(2 ** 24);
  const file = openSync(path, "w");
  // More would push out of the cache what is read.
  for (let left = Math.min(bytes, freemem() / 2); left > 0; left -= piece.length) writeSync(file, piece);
  closeSync(file);
  rmSync(path);
}
