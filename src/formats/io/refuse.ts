import { InputError } from "../../base/errors.ts";

/** What is being read, for error messages. */
export interface Where {
  /** As the user gave it, or relative to the checkpoint. */
  readonly file: string;
  readonly tensor?: string;
}

export interface Refusal {
  readonly expected?: string;
  readonly found?: string;
  readonly help?: string;
  readonly cause?: unknown;
}

const DAMAGED = "the file is damaged or was not written by torch: copy it again from its source, or save it again";

/** An InputError whose message names the file and, where one is concerned, the tensor. */
export function refuse(where: Where, code: string, what: string, details: Refusal = {}): InputError {
  const subject = where.tensor === undefined ? where.file : `${where.file}, tensor "${where.tensor}"`;
  return new InputError(code, `${subject}: ${what}`, { ...where, help: DAMAGED, ...details });
}
