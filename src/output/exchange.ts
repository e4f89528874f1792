// Two names exchange what they stand for, in one step that no kill can part: renameat2(RENAME_EXCHANGE). Node has no call
// for it (docs/decisions/014), so a program of the system makes it, where there is one and the file system knows the call.
import childProcess from "node:child_process";
import fs from "node:fs";
import { isAbsence } from "../formats/io/file-faults.ts";

/** Linux, include/uapi/asm/unistd_64.h and unistd.h: the number of renameat2. */
const SYSCALL: Readonly<Record<string, number>> = { x64: 316, arm64: 276 };

/** AT_FDCWD is −100, RENAME_EXCHANGE is 2. `+ 0` makes Perl pass a number instead of the address of a string. */
const PERL = "exit(syscall($ARGV[0] + 0, -100, $ARGV[1], -100, $ARGV[2], 2) == 0 ? 0 : 1)";

type Program = readonly [program: string, ...args: string[]];

/** Perl is part of nearly every distribution; the other two come with coreutils 9.5 and util-linux 2.40. */
function programs(a: string, b: string): Program[] {
  const number = SYSCALL[process.arch];
  const perl: Program[] = number === undefined ? [] : [["/usr/bin/perl", "-e", PERL, `${number}`, a, b]];
  return [...perl, ["/usr/bin/exch", a, b], ["/usr/bin/mv", "--exchange", "--no-target-directory", "--", a, b]];
}

/** A program that hangs must not hold the run. */
const TIMEOUT_MS = 10_000;

/**
 * Exchanges what stands at two absolute paths of one file system. Whether it did; nothing has changed where it did not.
 * Links themselves are exchanged, not what they lead to.
 */
export function exchange(a: string, b: string): boolean {
  if (process.platform !== "linux") return false;
  const before = inodeOf(a);
  for (const [program, ...args] of programs(a, b)) {
    if (!fs.existsSync(program)) continue;
    childProcess.spawnSync(program, args, { stdio: "ignore", timeout: TIMEOUT_MS, env: {} });
    // Looked at instead of the exit code: a program may have been killed after its work.
    if (inodeOf(b) === before) return true;
  }
  return false;
}

/** Inode of the entry itself, in decimal; null where there is none. */
export const inodeOf = (path: string): string | null => entryAt(path)?.ino.toString() ?? null;

/** The entry itself, not what it leads to. Throws what the file system throws of one that is there. */
export function entryAt(path: string): fs.BigIntStats | null {
  try {
    return fs.lstatSync(path, { bigint: true, throwIfNoEntry: false }) ?? null;
  } catch (cause) {
    if (isAbsence(cause)) return null;
    throw cause;
  }
}
