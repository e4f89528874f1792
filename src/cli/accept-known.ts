// `--accept-known[=CODE[=KL]]`: an option that may stand without a value, before a path as well.
import { existsSync } from "node:fs";
import { UsageError } from "../base/errors.ts";
import type { Acceptance } from "../parity/choices.ts";
import type { Arguments } from "./arguments.ts";

const OPTION = "--accept-known";
/** Stands for all that are small. */
const SMALL = "*";
const CODE = /^[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+(?:=.*)?$/;

/** The call with a value for each such option. What follows a bare one belongs to it only if it is a code and no file. */
export function withAcceptances(argv: readonly string[]): readonly string[] {
  const out: string[] = [];
  for (const [i, arg] of argv.entries()) {
    if (argv[i - 1] === OPTION && isCode(arg)) continue;
    if (arg !== OPTION) out.push(arg);
    else out.push(`${OPTION}=${isCode(argv[i + 1]) ? argv[i + 1] : SMALL}`);
  }
  return out;
}

const isCode = (word: string | undefined): boolean => word !== undefined && CODE.test(word) && !existsSync(word);

/** @throws UsageError OPTION_VALUE for a KL that is no number */
export function acceptancesIn(args: Arguments): readonly Acceptance[] {
  return args.list("accept-known").map((text) => {
    if (text === SMALL) return { code: null };
    const [code = "", kl] = text.split("=");
    if (kl === undefined) return { code };
    const klNats = kl.trim() === "" ? Number.NaN : Number(kl);
    if (Number.isFinite(klNats) && klNats >= 0) return { code, klNats };
    throw new UsageError("OPTION_VALUE", `${OPTION}=${text}: "${kl}" is no mean KL in nats per token`, {
      expected: "a number of at least 0",
      found: kl,
      help: `write ${OPTION}=${code}=1e-6, for example`,
    });
  });
}
