import type { Command } from "../command.ts";
import { check } from "./check.ts";
import { clean } from "./clean.ts";
import { convert } from "./convert.ts";
import { diff } from "./diff.ts";
import { doctor } from "./doctor.ts";
import { families } from "./families.ts";
import { gate } from "./gate.ts";
import { init } from "./init.ts";
import { inspect } from "./inspect.ts";
import { match } from "./match.ts";
import { mutate } from "./mutate.ts";
import { parity } from "./parity.ts";
import { plan } from "./plan.ts";
import { roundtrip } from "./roundtrip.ts";
import { seal } from "./seal.ts";
import { validate } from "./validate.ts";

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
  clean,
  families,
  doctor,
];
