import type { Command } from "./command.ts";
import { doctor } from "./commands/about/doctor.ts";
import { families } from "./commands/about/families.ts";
import { check } from "./commands/check/check.ts";
import { diff } from "./commands/check/diff.ts";
import { gate } from "./commands/check/gate.ts";
import { inspect } from "./commands/check/inspect.ts";
import { match } from "./commands/check/match.ts";
import { parity } from "./commands/check/parity.ts";
import { roundtrip } from "./commands/check/roundtrip.ts";
import { seal } from "./commands/check/seal.ts";
import { validate } from "./commands/check/validate.ts";
import { clean } from "./commands/convert/clean.ts";
import { convert } from "./commands/convert/convert.ts";
import { finalize } from "./commands/convert/finalize.ts";
import { init } from "./commands/convert/init.ts";
import { mutate } from "./commands/convert/mutate.ts";
import { plan } from "./commands/convert/plan.ts";
import { push } from "./commands/convert/push.ts";

/** In the order of `--help`. */
export const commands: readonly Command[] = [
  convert,
  inspect,
  plan,
  roundtrip,
  diff,
  parity,
  validate,
  check,
  gate,
  seal,
  match,
  init,
  mutate,
  finalize,
  push,
  clean,
  families,
  doctor,
];
