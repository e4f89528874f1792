// dawn.node learns that GPU work is done by polling from `setImmediate` for as long as one of its promises is pending,
// which keeps a core busy and takes it from a software adapter. While we wait, those polls go through a 1 ms timer.

const pollMs = 1;
let waiting = 0;
let original: typeof setImmediate | undefined;

/** Dawn's poll is a nameless native function without parameters; dawn.node looks `setImmediate` up at every call. */
function isDawnPoll(args: readonly unknown[]): args is [() => void] {
  const [callback] = args;
  return (
    args.length === 1 &&
    typeof callback === "function" &&
    callback.name === "" &&
    callback.length === 0 &&
    Function.prototype.toString.call(callback).includes("[native code]")
  );
}

function install(): void {
  original = globalThis.setImmediate;
  globalThis.setImmediate = new Proxy(original, {
    apply: (target, thisArg, args: unknown[]) =>
      isDawnPoll(args) ? setTimeout(args[0], pollMs) : Reflect.apply(target, thisArg, args),
  });
}

/** Awaits a promise of Dawn. `globalThis.setImmediate` is wrapped only while at least one of these is pending. */
export async function awaitGpu<T>(promise: Promise<T>): Promise<T> {
  if (waiting++ === 0) install();
  try {
    return await promise;
  } finally {
    if (--waiting === 0 && original !== undefined) globalThis.setImmediate = original;
  }
}
