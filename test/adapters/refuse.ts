import { InputError } from "../../src/base/errors.ts";

/** The failure of a call that must fail with an InputError, as `CODE: message`. */
export function refusal(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    if (error instanceof InputError) return `${error.code}: ${error.message}`;
    throw error;
  }
  throw new Error("it was accepted");
}
