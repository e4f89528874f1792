// Globals that no data needs, and that an attack on a reader of pickles does. The machine runs nothing, so it is safe without
// this list; the list is for the reader of the report, who may load the same file with torch.
// After trailofbits/fickling@v0.1.3:fickling/fickle.py and mmaitre314/picklescan@v0.0.24:src/picklescan/scanner.py.

/** Whose every name is refused, their submodules' too. */
const MODULES: ReadonlySet<string> = new Set(
  (
    "os posix nt sys subprocess commands shutil socket ssl pty runpy importlib imp code codeop webbrowser ctypes cffi " +
    "pickle _pickle cPickle marshal pdb bdb timeit trace profile cProfile doctest pydoc asyncio httplib urllib2 requests " +
    "aiohttp smtplib ftplib telnetlib pip ensurepip venv"
  ).split(" "),
);

const NAMES: ReadonlySet<string> = new Set([
  ...["builtins", "__builtin__"].flatMap((module) =>
    "eval exec execfile compile open file input raw_input breakpoint __import__ apply globals vars"
      .split(" ")
      .map((name) => `${module} ${name}`),
  ),
  "operator attrgetter",
  "operator methodcaller",
  "_operator attrgetter",
  "_operator methodcaller",
  "torch load",
  "torch.serialization load",
  "torch.jit load",
  "torch.utils.cpp_extension load",
  "torch.utils.cpp_extension load_inline",
  "numpy load",
]);

const SUBMODULES: readonly string[] = [
  "torch.hub",
  "torch._inductor",
  "numpy.testing",
  "urllib.request",
  "http.client",
];

/** `name` may have dots of its own (STACK_GLOBAL of protocol 4). */
export function isHostile(module: string, name: string): boolean {
  const root = module.split(".", 1)[0] ?? "";
  const first = name.split(".", 1)[0] ?? "";
  return (
    MODULES.has(root) ||
    NAMES.has(`${module} ${first}`) ||
    SUBMODULES.some((known) => module === known || module.startsWith(`${known}.`))
  );
}
